//! Record: from what is known about a request to the event that goes into the journal. Pure.

use super::{
    query::Own,
    resolve::{Credit, Target},
    sighting::Sighting,
};
use crate::core::{
    code::CodeBuf,
    event::{Class, EventRef, Kind},
    id::{EventId, VisitorId},
    limits::{LABEL_MAX_BYTES, REFERRER_MAX_BYTES},
};

/// What an event is, and what it is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    pub id: &'a EventId,
    pub kind: Kind,
    pub class: Class,
    pub visitor: Option<&'a VisitorId>,
    pub link: Option<&'a CodeBuf>,
    pub slug: Option<&'a CodeBuf>,
    pub channel: &'a str,
    /// The click that a view belongs to.
    pub click: Option<&'a EventId>,
    pub rule: u32,
}

impl<'a> About<'a> {
    pub fn target(id: &'a EventId, kind: Kind, class: Class, target: Option<&'a Target>) -> About<'a> {
        About {
            id,
            kind,
            class,
            visitor: None,
            link: target.map(|target| &target.link),
            slug: target.and_then(|target| target.slug.as_ref()),
            channel: "",
            click: None,
            rule: 0,
        }
    }
}

/// The event of a sighting. Borrows everything, so that a record costs no allocation.
pub fn event<'a>(sighting: &'a Sighting<'a>, own: &'a Own<'a>, about: About<'a>, credit: &'a Credit) -> EventRef<'a> {
    let code = |code: Option<&'a CodeBuf>| code.map_or("", CodeBuf::as_str);
    let [sub1, sub2, sub3, sub4, sub5] = &own.subs;
    EventRef {
        id: &about.id.0,
        kind: about.kind as i32,
        class: about.class as i32,
        time_ms: sighting.now.0,
        program: code(credit.program.as_ref()),
        link: code(about.link),
        partner: code(credit.partner.as_ref()),
        ad: code(credit.ad.as_ref()),
        slug: code(about.slug),
        channel: about.channel,
        visitor: about.visitor.map_or(&[], |visitor| &visitor.0),
        country: sighting.place.country,
        region: sighting.place.region,
        city: sighting.place.city,
        network: sighting.place.network,
        address: &sighting.prefix,
        referrer: sighting.referrer,
        language: sighting.language.as_str(),
        device: sighting.device as i32,
        browser: sighting.agent.browser.as_str(),
        os: sighting.agent.os,
        sub1,
        sub2,
        sub3,
        sub4,
        sub5,
        reason: credit.reason.map_or("", |reason| reason.label()),
        named: code(credit.named.as_ref()),
        click: about.click.map_or(&[], |click| &click.0),
        rule: about.rule,
        count: 0,
        sequence: 0,
    }
}

/// The host of a Referer: no path, no query, no user name ever reaches the record. Not ASCII, or no host, is empty.
pub fn referrer_host(referer: &[u8]) -> &str {
    let text = std::str::from_utf8(referer).unwrap_or_default();
    let Some((_, rest)) = text.split_once("://") else { return "" };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    let valid = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if valid && host.len() <= REFERRER_MAX_BYTES { host } else { "" }
}

const _: () = assert!(LABEL_MAX_BYTES <= REFERRER_MAX_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_referer_only_the_host_is_kept() {
        for (referer, host) in [
            ("https://www.instagram.com/p/secret?token=1#x", "www.instagram.com"),
            ("https://user:pw@mail.example:8443/inbox", "mail.example"),
            ("android-app://com.slack/", "com.slack"),
            ("https://jane@doe.example", "doe.example"),
            ("about:blank", ""),
            ("https://a b/", ""),
            ("https://[::1]/", ""),
            ("", ""),
        ] {
            assert_eq!(referrer_host(referer.as_bytes()), host, "{referer}");
        }
        assert_eq!(referrer_host(b"https://\xff/"), "");
    }
}
