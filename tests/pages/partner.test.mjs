// The partner center: the links, a child and its ad in the link generator, a short link, the statistics, what helps to promote.

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
    name: "Spring", origins: [shop.origin], qualification: { on: "event" },
    rewards: [{ code: "share", to: "partner", on: "sale", value: { percent: 1000 } }], parent_shares: [1000],
  });
  await server.api("PUT", "/v1/links/haircare", { name: "Hair care", address: `${shop.origin}/haircare`, programs: ["spring"] });
  await server.api("PUT", "/v1/partners/kid1", { name: "Kim's Corner", first_name: "Kim", email: "kim@home.example", parent: "abc123", programs: ["spring"] });
  await server.api("PUT", "/v1/partners/kid1/ads/podcast", { name: "Episode 12", media_type: "podcast" });
  const png = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");
  await server.api("PUT", "/v1/programs/spring/page/files/banner.png", new Uint8Array(png), { "Content-Type": "image/png" });
  await server.api("PUT", "/v1/programs/spring/page", {
    promotions: [
      { kind: "banner", file: "banner.png", alt: "Soft hair in a week" },
      { kind: "mail", subject: "Have you tried this?", text: "Hi,\n\nI like it: {link}\n\n{first_name}" },
    ],
  });
});
after(async () => {
  await browser?.close();
  shop?.stop();
  await server?.stop();
});

/** Logs Jane in, who has a child. */
async function enter(context, email = "jane@example.com") {
  const page = await tab(context);
  const before = server.mails(email).length;
  await open(page, `${server.edge}/partner`);
  await page.getByLabel("Your e-mail address").fill(email);
  await page.getByRole("button", { name: "Send me a code" }).click();
  await page.getByLabel(/The code of 6 digits/).fill(await server.code(email, before));
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByRole("heading", { name: "My Sales Websites" }).waitFor();
  return page;
}

for (const [size, viewport] of [["desktop", DESKTOP], ["phone", PHONE]]) {
  for (const javaScriptEnabled of [true, false]) {
    const how = `${size}, ${javaScriptEnabled ? "with" : "without"} JavaScript`;
    test(`a link for a child with an ad, its parts, a short link, and its hits (${how})`, async () => {
      const jane = await person(browser, server, { viewport, javaScriptEnabled });
      const page = await enter(jane);
      assert.equal(await page.getByRole("textbox", { name: "Hair care" }).inputValue(), `${server.edge}/go/haircare/abc123`);
      await page.getByRole("link", { name: "Link Generator" }).click();
      await page.getByLabel("Who is driving the traffic?").selectOption({ label: "Kim's Corner" });
      await page.getByLabel("Where to?").selectOption({ label: "Hair care" });
      // Somebody else's ad is told, and the choices stay.
      await page.getByLabel("By which ad?").selectOption({ label: "Side bar" });
      await page.getByRole("button", { name: "Make the link" }).click();
      await page.getByText("This ad is not of whoever drives the traffic").waitFor();
      assert.equal(await page.getByLabel("Who is driving the traffic?").inputValue(), "kid1");
      await page.getByLabel("By which ad?").selectOption({ label: "Episode 12" });
      await page.getByRole("button", { name: "Make the link" }).click();
      const link = await page.getByRole("textbox", { name: "Your link" }).inputValue();
      assert.equal(link, `${server.edge}/go/haircare/kid1/podcast`);
      for (const [part, meaning] of [["haircare", "Where to: Hair care"], ["/kid1", "Who is credited: Kim's Corner"], ["/podcast", "By which ad: Episode 12"]]) {
        assert.ok((await page.getByRole("row", { name: part }).last().textContent()).includes(meaning), part);
      }
      assert.ok(await page.getByRole("img", { name: "QR code of your link" }).isVisible());
      await page.getByRole("button", { name: "Make a short link of it" }).click();
      const short = await page.getByRole("textbox", { name: "The short link" }).inputValue();
      assert.match(short, /\/[2-9a-z]{8}$/);
      await checkWidth(page, how);

      const visitor = await person(browser, server, { allowed: [shop.origin] });
      const landing = await tab(visitor);
      await landing.goto(short);
      assert.equal(new URL(landing.url()).origin, shop.origin);
      await visitor.close();
      const hits = async () => {
        const kim = await server.api("GET", "/v1/reports/links?partner=kid1&visitors=false");
        return JSON.stringify(kim);
      };
      await eventually("the click", async () => (await hits()).includes('"podcast"'));
      await page.getByRole("link", { name: "My Referral Partners" }).click();
      await page.getByRole("row", { name: /Kim's Corner/ }).waitFor();
      await jane.close();
    });
  }
}

test("an ad is made, with what is missing told, and seen in the statistics", async () => {
  const jane = await person(browser, server);
  const page = await enter(jane);
  await page.getByRole("link", { name: "My Ads" }).click();
  await page.getByLabel("Description").fill("On top of the page");
  await page.getByRole("button", { name: "Make the ad" }).click();
  await page.getByText("Give it a name.").waitFor();
  assert.equal(await page.getByLabel("Description").inputValue(), "On top of the page");
  await page.getByLabel("Name", { exact: true }).fill("Summer banner");
  await page.getByLabel("Media type").fill("banner");
  await page.getByLabel("Start date").fill("2026-06-01");
  await page.getByRole("button", { name: "Make the ad" }).click();
  await page.getByText("Your ad is there").waitFor();
  await page.getByRole("row", { name: /Summer banner.*summer-banner.*On top of the page.*banner.*2026-06-01/ }).waitFor();
  await page.getByLabel("Name", { exact: true }).fill("Summer banner");
  await page.getByRole("button", { name: "Make the ad" }).click();
  await page.getByText("You have an ad with this code already").waitFor();

  const visitor = await person(browser, server, { allowed: [shop.origin] });
  const landing = await tab(visitor);
  await landing.goto(`${server.edge}/go/haircare/abc123/summer-banner`);
  await landing.getByLabel("E-mail").fill("friend@home.example");
  await landing.getByRole("button", { name: "Sign up" }).click();
  await landing.getByRole("heading", { name: "Thanks" }).waitFor();
  await visitor.close();
  await eventually("the lead", async () => (await server.api("GET", "/v1/referrals?partner=abc123")).items.length > 0);
  await server.api("POST", "/v1/conversions", { email: "friend@home.example", invoice_id: "i-1", amount: 5000, currency: "EUR" });
  await page.getByRole("link", { name: "Link Tracking Stats" }).click();
  await eventually("hit, opt-in and order", async () => {
    await page.reload();
    const row = page.getByRole("row", { name: /haircare summer-banner/ });
    return (await row.count()) === 1 && /haircare\s*summer-banner\s*1\s*1\s*1/.test((await row.textContent()).replace(/\s+/g, " "));
  });
  await page.getByRole("link", { name: "Rewards" }).click();
  await page.getByRole("row", { name: /5\.00 EUR spring due/ }).waitFor();
  await page.getByRole("link", { name: "Promote" }).click();
  const mail = await page.getByLabel("Text of the mail").inputValue();
  assert.match(mail, /I like it: http:\/\/localhost:\d+\/[2-9a-z]{8}\n\nJane$/);
  assert.match(await page.getByLabel("Paste this into your page").inputValue(), /^<a href="http[^"]+"><img src="http[^"]+banner\.png\?v=[0-9a-f]{16}" alt="Soft hair in a week"><\/a>$/);
  await jane.close();
});

test("every page is accessible, light, and reached by keyboard", async () => {
  // One address is mailed five codes an hour.
  await server.api("PUT", "/v1/partners/abc123", { name: "Jane's Hair Blog", first_name: "Jane", email: "jane@home.example", programs: ["spring"] });
  const jane = await person(browser, server);
  const page = await tab(jane);
  await open(page, `${server.edge}/partner`);
  await check(page, "logging in");
  await checkKeyboard(page, "logging in");
  await page.close();
  const inside = await enter(jane, "jane@home.example");
  const path = new URL(inside.url()).pathname;
  let pages = 0;
  for (const [end, name] of [["", "sites"], ["/partners", "partners"], ["/ads", "ads"], ["/generator?who=kid1&link=haircare&ad=kid1%2Fpodcast", "generator"],
    ["/stats?days=0", "stats"], ["/rewards", "rewards"], ["/promote", "promote"]]) {
    await open(inside, `${server.edge}${path}${end}`);
    await check(inside, name);
    await checkKeyboard(inside, name);
    await picture(inside, `partner-${name}`);
    await inside.setViewportSize(PHONE);
    await checkWidth(inside, name);
    await inside.setViewportSize(DESKTOP);
    pages += 1;
  }
  assert.equal(pages, 7);
  await jane.close();
});
