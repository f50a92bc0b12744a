// The dashboard: an operator sees the whole story of a referral, issues what is due, mends a mistake; and what must hold of every page.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import {
  DESKTOP, PHONE, Server, check, checkKeyboard, checkWidth, eventually, launch, open, person, picture, tab,
} from "./support.mjs";

const BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
let server, browser;

before(async () => {
  [server, browser] = await Promise.all([Server.start(), launch()]);
  await server.api("PUT", "/v1/programs/spring", {
    name: "Spring", window_days: 90, qualification: { on: "event", event: "sale" }, review: { hold_from: 50 },
    rewards: [{ code: "share", to: "partner", on: "qualification", value: { fixed: { amount: 500, currency: "EUR" } } }],
  });
  await server.api("PUT", "/v1/partners/abc123", { name: "Jane", first_name: "Jane", email: "jane@home.example" });
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const address = (path = "") => `${server.control}/dashboard${path}`;

/** A browser of the operator's, logged in. */
async function operator(options = {}) {
  const context = await person(browser, server, options);
  const page = await tab(context);
  await open(page, address());
  await page.getByLabel("Admin token").fill(server.token);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  return { context, page };
}

/** A click of somebody's browser; the token that the landing page is given. */
async function click() {
  const answer = await fetch(`${server.edge}/go/haircare/abc123/website2`, { redirect: "manual", headers: { "User-Agent": BROWSER } });
  return new URL(answer.headers.get("location")).searchParams.get("fpc");
}

for (const [size, viewport] of [["desktop", DESKTOP], ["phone", PHONE]]) {
  for (const javaScriptEnabled of [true, false]) {
    const how = `${size}, ${javaScriptEnabled ? "with" : "without"} JavaScript`;
    test(`the story of a referral: click, lead, payment, qualified, due, issued (${how})`, async () => {
      const email = `bo.${size}.${javaScriptEnabled}@home.example`;
      const { context, page } = await operator({ viewport, javaScriptEnabled });
      const token = await click();
      const told = await server.api("POST", "/v1/leads", { program: "spring", email, first_name: "Bo", token });
      await page.goto(address(`/referrals/${told.referral.id}`));
      const story = page.getByRole("listitem");
      await story.filter({ hasText: "Click on the link haircare of abc123" }).waitFor();
      await story.filter({ hasText: "Left their name" }).waitFor();
      assert.equal(await page.getByText("Payment").count(), 0);
      await server.api("POST", "/v1/conversions", { email, event: "sale", amount: 9990, currency: "EUR", invoice_id: `in-${email}` });
      await page.reload();
      for (const step of ["Payment: sale", "Qualified", "earned for abc123", "due to abc123"]) await story.filter({ hasText: step }).waitFor();
      await page.getByText("abc123 is credited").first().waitFor();
      await checkWidth(page, `referral, ${how}`);

      // The due reward is chosen, looked at once more, and issued under a reference.
      await page.goto(address("/rewards"));
      await checkWidth(page, `rewards, ${how}`);
      await page.getByRole("link", { name: "Choose all of this page" }).click();
      await page.getByRole("button", { name: "Issue the chosen ones" }).click();
      await page.getByRole("heading", { name: "Issue these rewards?" }).waitFor();
      await page.getByRole("button", { name: "Issue them" }).click();
      await page.getByText("Give a reference").waitFor();
      await page.getByLabel("Reference").fill(`transfer ${how}`);
      await page.getByRole("button", { name: "Issue them" }).click();
      await page.getByText("Issued.").waitFor();
      await page.goto(address(`/referrals/${told.referral.id}`));
      await story.filter({ hasText: `issued to abc123 under transfer ${how}` }).waitFor();

      await page.getByRole("button", { name: "Log out", exact: true }).click();
      await page.getByText("You are logged out.").waitFor();
      await page.goto(address("/rewards"));
      await page.getByLabel("Admin token").waitFor();
      await context.close();
    });
  }
}

test("live clicks refresh themselves, and without a script by reloading", async () => {
  const { context, page } = await operator();
  const shares = page.getByRole("cell", { name: "Share", exact: true });
  assert.equal(await shares.count(), 0);
  await server.api("POST", "/v1/share-links", { slug: "live", link: "haircare", partner: "abc123" });
  await eventually("a share", async () => {
    const answer = await fetch(`${server.edge}/s/whatsapp/live`, { redirect: "manual", headers: { "User-Agent": BROWSER } });
    return answer.status === 302;
  });
  await shares.first().waitFor();
  assert.deepEqual(page.errors, []);
  await context.close();
});

test("a mistake is marked where it is, and what was typed stays", async () => {
  const { context, page } = await operator({ javaScriptEnabled: false });
  await page.getByRole("link", { name: "Partners", exact: true }).click();
  await page.getByRole("link", { name: "Add a partner" }).click();
  await page.getByLabel("Code").fill("a b");
  await page.getByLabel("Name", { exact: true }).fill("<b>Ann</b>");
  await page.getByRole("button", { name: "Save" }).click();
  assert.equal(await page.getByLabel("Code").getAttribute("aria-invalid"), "true");
  assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), "<b>Ann</b>");
  await page.getByLabel("Code").fill("ann");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Saved.").waitFor();
  await page.goto(address("/partners?search=ann"));
  await page.getByText("<b>Ann</b>").waitFor();
  await context.close();
});

test("a file that is uploaded says how far it is", async () => {
  const { context, page } = await operator();
  await page.goto(address("/uploads"));
  const buffer = Buffer.from("program,email,partner\nspring,up@home.example,abc123\nspring,wrong,abc123\n");
  await page.getByLabel("File").setInputFiles({ name: "leads.csv", mimeType: "text/csv", buffer });
  await page.getByRole("button", { name: "Upload" }).click();
  await page.getByText("100 %", { exact: true }).first().waitFor();
  await context.close();
});

test("every page is accessible, light, and reached by keyboard, on a desktop and on a phone", async () => {
  // Something to see.
  for (let n = 0; n < 8; n += 1) await click();
  const own = await server.api("POST", "/v1/leads", { program: "spring", email: "jane@home.example", first_name: "Jane", partner: "abc123" });
  await server.api("POST", "/v1/conversions", { email: "jane@home.example", event: "sale", amount: 9990, currency: "EUR", invoice_id: "own" });
  const sold = await server.api("POST", "/v1/leads", { program: "spring", email: "kim@home.example", first_name: "Kim", token: await click() });
  await server.api("POST", "/v1/conversions", { email: "kim@home.example", event: "sale", amount: 2990, currency: "EUR", invoice_id: "kim" });
  const hook = await server.api("POST", "/v1/webhooks", { address: "https://hooks.invalid/in" });
  const pages = [
    ["overview", "?since=7d", true],
    ["programs", "/programs", false],
    ["program", "/programs/spring", true],
    ["program to add", "/add/programs", false],
    ["design", "/design/spring", true],
    ["links", "/links", false],
    ["link", "/links/haircare", false],
    ["partners", "/partners", true],
    ["partner", "/partners/abc123", false],
    ["partner to delete", "/delete/partners/abc123", false],
    ["ads", "/ads", false],
    ["share links", "/share-links", false],
    ["referrals", "/referrals", true],
    ["referral", `/referrals/${sold.referral.id}`, true],
    ["doubtful referral", `/referrals/${own.referral.id}`, false],
    ["review", "/review", true],
    ["rewards", "/rewards", true],
    ["uploads", "/uploads", false],
    ["webhooks", "/webhooks", false],
    ["webhook", `/webhooks/${hook.id}`, false],
    ["audit", "/audit", false],
  ];
  const { context, page } = await operator();
  for (const [name, path, shot] of pages) {
    const answer = await open(page, address(path));
    assert.equal(answer.status(), 200, name);
    await check(page, name);
    await checkKeyboard(page, name);
    await checkWidth(page, name);
    if (shot) await picture(page, `dashboard-${name}`);
    await page.setViewportSize(PHONE);
    await checkWidth(page, `${name} on a phone`);
    await check(page, `${name} on a phone`);
    await page.emulateMedia({ colorScheme: "dark" });
    await check(page, `${name} in the dark`);
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize(DESKTOP);
  }
  await context.close();

  const nobody = await person(browser, server);
  const login = await tab(nobody);
  await open(login, address());
  await login.getByLabel("Admin token").fill("fp_wrong");
  await login.getByRole("button", { name: "Log in" }).click();
  await login.getByText("This is not the admin token.").waitFor();
  await check(login, "log-in");
  await checkKeyboard(login, "log-in");
  await picture(login, "dashboard-login");
  await nobody.close();
});
