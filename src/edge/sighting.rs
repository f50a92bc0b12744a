//! What a request tells beyond its URL: where it comes from, what sent it, and what its cookie remembers.

use http::{
    HeaderMap, HeaderName,
    header::{ACCEPT_LANGUAGE, COOKIE, DNT, REFERER, USER_AGENT},
};

use super::{client::Client, record::referrer_host};
use crate::{
    core::{
        cookie::Cookie,
        event::{Class, Device},
        key::KeyRing,
        time::Millis,
    },
    enrich::{Agent, AgentCache, Agents, GeoReader, Language, Place, Prefix, Purpose, Signals, classify, prefix},
};

const SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");
const SEC_CH_UA_MOBILE: HeaderName = HeaderName::from_static("sec-ch-ua-mobile");

/// One request, looked at once.
#[derive(Debug)]
pub struct Sighting<'a> {
    pub now: Millis,
    pub place: Place<'a>,
    /// The client's address, cut.
    pub prefix: Prefix,
    pub agent: &'a Agent,
    pub device: Device,
    pub language: Language,
    /// Host of the Referer.
    pub referrer: &'a str,
    pub purpose: Purpose,
    /// The visitor asked not to be known: no cookie, no visitor id, no token.
    pub private: bool,
    pub cookie: Option<Cookie>,
}

/// Looks at the headers. One walk over them: a map look-up for each name costs more than the few that browsers send.
pub fn sight<'a>(
    headers: &'a HeaderMap,
    client: Client,
    now: Millis,
    keys: &KeyRing,
    honour_dnt: bool,
    geo: &'a mut GeoReader,
    (cache, agents): (&'a mut AgentCache, &Agents),
) -> Sighting<'a> {
    let (mut user_agent, mut mobile, mut referrer) = (&b""[..], None, "");
    let mut language = Language::default();
    let mut purposes: [&[u8]; Purpose::HEADERS.len()] = [b""; Purpose::HEADERS.len()];
    let mut private = false;
    let mut has_cookie = false;
    for (name, value) in headers {
        if name == USER_AGENT {
            user_agent = value.as_bytes();
        } else if name == COOKIE {
            has_cookie = true;
        } else if name == ACCEPT_LANGUAGE {
            language = Language::preferred(value.as_bytes());
        } else if name == REFERER {
            referrer = referrer_host(value.as_bytes());
        } else if name == SEC_GPC {
            private |= value.as_bytes() == b"1";
        } else if name == DNT {
            private |= honour_dnt && value.as_bytes() == b"1";
        } else if name == SEC_CH_UA_MOBILE {
            mobile = Some(value.as_bytes() == b"?1");
        } else if let Some(at) = Purpose::HEADERS.iter().position(|header| name == header) {
            purposes[at] = value.as_bytes();
        }
    }
    let cookie = if has_cookie && !private {
        Cookie::find(headers.get_all(COOKIE).into_iter().map(http::HeaderValue::as_bytes), keys, now)
    } else {
        None
    };
    let agent = cache.get(agents, user_agent);
    Sighting {
        now,
        place: geo.lookup(client.address),
        prefix: prefix(client.address),
        agent,
        device: agent.device(mobile),
        language,
        referrer,
        purpose: Purpose::of(purposes),
        private,
        cookie,
    }
}

impl Sighting<'_> {
    pub fn class(&self, method_is_head: bool, test: bool, repeat: bool) -> Class {
        classify(Signals {
            method_is_head,
            purpose: self.purpose,
            verdict: self.agent.verdict,
            repeat,
            // Known from the partner's own log-in, which the edge does not see.
            owner: false,
            test,
        })
    }
}
