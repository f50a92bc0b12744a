// The tracking page: join, share, a click from a second browser, the number that rises; codes that are wrong and over; what each
// program changes about it; and what must hold of every page.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import {
  DESKTOP, PHONE, Server, Shop, check, checkKeyboard, checkWidth, eventually, launch, open, person, picture, tab,
} from "./support.mjs";

let server, browser, shop;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), launch()]);
  shop = await Shop.start(server, "spring");
  await server.api("PUT", "/v1/programs/spring", {
    name: "Spring", window_days: 90, origins: [shop.origin], qualification: { on: "event" },
    rewards: [{ code: "share", to: "partner", on: "qualification", hold_days: 14, value: { fixed: { amount: 500, currency: "EUR" } } }],
  });
  await server.api("PUT", "/v1/programs/spring/page", { join: "open" });
  await server.api("PUT", "/v1/links/haircare", { name: "Hair care", address: `${shop.origin}/haircare`, programs: ["spring"] });
});
after(async () => {
  await browser?.close();
  shop?.stop();
  await server?.stop();
});

const address = () => `${server.edge}/r/spring`;

/** Types an address and the code that was mailed to it. */
async function enter(page, email, where = address()) {
  const before = server.mails(email).length;
  await open(page, where);
  await page.getByLabel("Your e-mail address").fill(email);
  await page.getByRole("button", { name: "Track Your Referrals" }).click();
  await page.getByLabel(/The code of 6 digits/).fill(await server.code(email, before));
  await page.getByRole("button", { name: "Continue" }).click();
}

/** What stands beside a figure's name. */
const figure = (page, name) => page.locator("dl.figures > div", { hasText: name }).locator("dd").first().textContent();

for (const [size, viewport] of [["desktop", DESKTOP], ["phone", PHONE]]) {
  for (const javaScriptEnabled of [true, false]) {
    const how = `${size}, ${javaScriptEnabled ? "with" : "without"} JavaScript`;
    test(`join, share, a click by another browser, and the number rises (${how})`, async () => {
      const email = `bo.${size}.${javaScriptEnabled}@home.example`;
      const bo = await person(browser, server, { viewport, javaScriptEnabled });
      const page = await tab(bo);
      await enter(page, email);
      await page.getByRole("heading", { name: "Join Spring" }).waitFor();
      // A field that is missing is marked, and what was typed stays.
      await page.getByLabel("Last name").fill("Miller");
      await page.getByRole("button", { name: "Join and get my link" }).click();
      await page.getByText("Enter your first name.").waitFor();
      assert.equal(await page.getByLabel("Last name").inputValue(), "Miller");
      await page.getByLabel("First name").fill("Bo");
      await page.getByRole("button", { name: "Join and get my link" }).click();
      await page.getByRole("heading", { name: "Hello Bo!" }).waitFor();
      const link = await page.getByRole("textbox", { name: "Your link" }).inputValue();
      assert.match(link, /^http:\/\/localhost:\d+\/[2-9a-z]{8}$/);
      assert.equal(await page.getByRole("button", { name: "Copy" }).count(), javaScriptEnabled ? 1 : 0);
      await checkWidth(page, how);

      // The share button counts, and leads to the channel's own form with the link in it.
      const whatsapp = await page.getByRole("link", { name: "Share by WhatsApp" }).getAttribute("href");
      const shared = await fetch(whatsapp, { redirect: "manual", headers: { "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0" } });
      assert.ok(decodeURIComponent(shared.headers.get("location")).includes(link), shared.headers.get("location"));

      // Somebody else's browser: from the link to the shop, whose form tells the lead with the click that our script kept.
      const visitor = await person(browser, server, { allowed: [shop.origin] });
      const landing = await tab(visitor);
      await landing.goto(link);
      assert.equal(new URL(landing.url()).origin, shop.origin);
      assert.ok(new URL(landing.url()).searchParams.get("fpc"));
      await landing.getByLabel("E-mail").fill(`friend.of.${email}`);
      await landing.getByRole("button", { name: "Sign up" }).click();
      await landing.getByRole("heading", { name: "Thanks" }).waitFor();
      await visitor.close();

      await eventually("the referral", async () => {
        await page.goto(address());
        return (await figure(page, "Referrals")) === "1" && page.locator("p", { hasText: "One click in 30 days" }).isVisible();
      });
      assert.equal(await figure(page, "Converted Referrals"), "0");
      await server.api("POST", "/v1/conversions", { email: `friend.of.${email}`, invoice_id: `i-${email}`, amount: 4990, currency: "EUR" });
      await eventually("the reward", async () => {
        await page.goto(address());
        return (await figure(page, "Converted Referrals")) === "1" && page.getByRole("cell", { name: "held" }).isVisible();
      });
      assert.match(await page.getByRole("row", { name: /held/ }).textContent(), /5\.00 EUR.*until \d+ \w+ \d{4}/s);
      const [reach] = await server.api("GET", "/v1/reports/reach?visitors=false");
      assert.ok(reach.shares >= 1, "the share button was counted");
      if (size === "desktop" && javaScriptEnabled) {
        await page.getByText("QR code of your link").click();
        await picture(page, "tracking-stats");
      }

      // The same link again, also in a new session.
      await page.getByRole("button", { name: "Log out", exact: true }).click();
      await page.getByText("You are logged out.").waitFor();
      await enter(page, email);
      assert.equal(await page.getByRole("textbox", { name: "Your link" }).inputValue(), link);
      await bo.close();
    });
  }
}

test("a wrong code says how many tries are left, and one that is over offers a new one", async () => {
  const ann = await person(browser, server);
  const page = await tab(ann);
  await open(page, address());
  await page.getByLabel("Your e-mail address").fill("Jane@Example.com");
  await page.getByRole("button", { name: "Track Your Referrals" }).click();
  const code = await server.code("jane@example.com");
  const wrong = code === "000000" ? "000001" : "000000";
  for (const left of ["4 tries are left", "3 tries are left", "2 tries are left", "One try is left"]) {
    await page.getByLabel(/The code of 6 digits/).fill(wrong);
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByText(left).waitFor();
    assert.equal(await page.getByLabel(/The code of 6 digits/).inputValue(), wrong);
  }
  await page.getByLabel(/The code of 6 digits/).fill(wrong);
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByText("This code is no longer good").waitFor();
  // The right one does not help any more.
  await page.getByLabel(/The code of 6 digits/).fill(code);
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByText("This code is no longer good").waitFor();
  await page.getByRole("button", { name: "Send a new code" }).click();
  await page.getByText("a new code is on its way").waitFor();
  await page.getByLabel(/The code of 6 digits/).fill(await server.code("jane@example.com", 1));
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByRole("heading", { name: "Hello Jane!" }).waitFor();
  // A code is good once, in the browser that asked for it.
  await ann.close();
});

test("a code is of no use in another browser", async () => {
  const [ann, other] = [await person(browser, server), await person(browser, server)];
  const [mine, theirs] = [await tab(ann), await tab(other)];
  for (const [page, email] of [[mine, "carla@home.example"], [theirs, "eve@home.example"]]) {
    await open(page, address());
    await page.getByLabel("Your e-mail address").fill(email);
    await page.getByRole("button", { name: "Track Your Referrals" }).click();
  }
  await theirs.getByLabel(/The code of 6 digits/).fill(await server.code("carla@home.example"));
  await theirs.getByRole("button", { name: "Continue" }).click();
  await theirs.getByText("4 tries are left").waitFor();
  await Promise.all([ann.close(), other.close()]);
});

test("logging out everywhere ends all sessions", async () => {
  const [desk, phone] = [await person(browser, server), await person(browser, server, { viewport: PHONE })];
  const [one, two] = [await tab(desk), await tab(phone)];
  await enter(one, "dora@home.example");
  await enter(two, "dora@home.example");
  await two.getByRole("heading", { name: "Join Spring" }).waitFor();
  await one.getByRole("button", { name: "Log out everywhere" }).click();
  await one.getByText("You are logged out.").waitFor();
  await two.goto(address());
  await two.getByLabel("Your e-mail address").waitFor();
  await Promise.all([desk.close(), phone.close()]);
});

test("every page is accessible, light, and reached by keyboard", async () => {
  const ann = await person(browser, server);
  const page = await tab(ann);
  await open(page, address());
  const steps = [];
  const look = async (name, shot) => {
    await check(page, name);
    await checkKeyboard(page, name);
    if (shot) await picture(page, shot);
    steps.push(name);
  };
  await look("the address", "tracking-email");
  await page.getByLabel("Your e-mail address").fill("not an address");
  await page.getByRole("button", { name: "Track Your Referrals" }).click();
  await page.getByText("This is not an e-mail address").waitFor();
  assert.equal(await page.getByLabel("Your e-mail address").inputValue(), "not an address");
  await look("the address, wrong");
  await page.getByLabel("Your e-mail address").fill("frida@home.example");
  await page.getByRole("button", { name: "Track Your Referrals" }).click();
  await page.getByLabel(/The code of 6 digits/).waitFor();
  await look("the code", "tracking-code");
  await page.getByLabel(/The code of 6 digits/).fill(await server.code("frida@home.example"));
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByLabel("First name").fill("Frida");
  await look("joining", "tracking-join");
  await page.getByRole("button", { name: "Join and get my link" }).click();
  await page.getByRole("heading", { name: "Hello Frida!" }).waitFor();
  await page.getByText("QR code of your link").click();
  await open(page, address());
  await page.getByText("QR code of your link").click();
  await look("the numbers");
  await open(page, `${server.edge}/r/nothing`);
  await page.getByText("There is no program here").waitFor();
  await look("an unknown program", "tracking-unknown");
  assert.equal(steps.length, 6);
  await ann.close();
});

test("a program's own design: texts, colours, logo, blocks, channels, language, and no code", async () => {
  const png = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");
  await server.api("PUT", "/v1/programs/summer", { name: "Summer & <b>Sun</b>" });
  await server.api("PUT", "/v1/programs/summer/page/files/logo.png", new Uint8Array(png), { "Content-Type": "image/png" });
  await server.api("PUT", "/v1/programs/summer/page", {
    login_code: false, language: "de", channels: ["sms", "email"], icons: "black", logo: "logo.png", logo_text: "Der Laden",
    colours: { accent: "#7a1f5c", on_accent: "#ffffff", background: "#fff7ef", surface: "#ffffff", text: "#222222" },
    variables: { radius: "2px", font: "Georgia, serif" },
    texts: { de: { button: "Los geht's <script>alert(1)</script>" } },
    blocks: {
      email: { before: [{ kind: "text", text: "Erst\n\nZweit <img src=x onerror=alert(1)>" }, { kind: "picture", file: "logo.png", alt: "Ein Bild" }], after: [] },
      stats: { before: [], after: [{ kind: "button", text: "Mehr", address: "https://shop.example/mehr" }] },
    },
    embed: ["https://shop.example"],
  });
  const ann = await person(browser, server);
  const page = await tab(ann);
  const answer = await open(page, `${server.edge}/r/summer`);
  assert.match(answer.headers()["content-security-policy"], /frame-ancestors https:\/\/shop\.example$/);
  assert.equal(await page.getAttribute("html", "lang"), "de");
  await page.getByRole("img", { name: "Der Laden" }).waitFor();
  await page.getByText("Zweit <img src=x onerror=alert(1)>").waitFor();
  const button = page.getByRole("button", { name: "Los geht's <script>alert(1)</script>" });
  assert.equal(await button.evaluate((e) => getComputedStyle(e).backgroundColor), "rgb(122, 31, 92)");
  await check(page, "a designed page");
  await picture(page, "tracking-designed");
  await page.getByLabel("Ihre E-Mail-Adresse").fill("jane@example.com");
  await button.click();
  await page.getByRole("link", { name: "Mehr" }).waitFor();
  assert.equal(await figure(page, "Empfehlungen"), "0");
  assert.equal(await page.getByRole("textbox").count(), 0, "numbers only");
  await check(page, "numbers only");
  await ann.close();
});

test("another site can send no form, and may frame only what a program lets it", async () => {
  const answer = await fetch(address(), {
    method: "POST", redirect: "manual", body: new URLSearchParams({ email: "jane@example.com" }),
    headers: { Origin: "https://evil.example", "Sec-Fetch-Site": "cross-site" },
  });
  assert.equal(answer.status, 403);
  assert.match(await answer.text(), /came from another site/);
  const page = await fetch(address());
  const policy = page.headers.get("content-security-policy");
  assert.match(policy, /default-src 'none'; script-src 'nonce-[\w-]+'; style-src 'nonce-[\w-]+'/);
  assert.match(policy, /frame-ancestors 'none'$/);
  assert.equal(page.headers.get("x-content-type-options"), "nosniff");
  assert.ok(!/ on\w+=|style=/.test(await page.text()));
});
