//! What sends a request, from its User-Agent: machine or browser, kind of device, browser, operating system.
//!
//! Every name comes from a list of ours, never from the text: visitors do not choose what reports group by. Reading
//! costs about a microsecond, so [`super::AgentCache`] stands before it.

use std::{fmt, ops::Deref};

use super::{
    crawlers::{Crawlers, Machine},
    cut,
    families::{Families, Found},
};
use crate::core::{
    event::Device,
    limits::{AGENT_MAX_BYTES, AGENT_NAME_MAX_BYTES},
};

/// Who sends. The greater one outweighs the lesser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// A person's, as far as the User-Agent tells.
    #[default]
    Browser,
    Bot,
    /// Fetches a link to show it in a chat or a feed.
    Preview,
}

/// A short text on the stack; the rest of a longer one is cut off.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Name {
    len: u8,
    bytes: [u8; AGENT_NAME_MAX_BYTES],
}

/// What a User-Agent tells. What is not known is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    pub verdict: Verdict,
    /// Without the client hint: see [`Agent::device`].
    device: Device,
    /// For example `Chrome`; of a machine the name on the list, for example `Googlebot`.
    pub browser: Name,
    /// For example `Android`.
    pub os: &'static str,
}

/// The compiled lists, shared by all workers.
#[derive(Debug)]
pub struct Agents {
    crawlers: Crawlers,
    families: Families,
}

impl Agent {
    /// The kind of device. `mobile_hint` is Sec-CH-UA-Mobile (`?1` is true): browsers that cut their User-Agent say it
    /// there.
    pub fn device(&self, mobile_hint: Option<bool>) -> Device {
        match (self.device, mobile_hint) {
            (Device::Desktop | Device::Other | Device::Unspecified, Some(true)) => Device::Mobile,
            (device, _) => device,
        }
    }
}

impl Agents {
    /// Compiles the lists that ship inside.
    pub(super) fn load() -> Result<Agents, String> {
        Ok(Agents { crawlers: Crawlers::load()?, families: Families::load()? })
    }

    /// Reads a User-Agent; only its first [`AGENT_MAX_BYTES`] are looked at. Go through the cache.
    pub fn read(&self, user_agent: &[u8]) -> Agent {
        let text = String::from_utf8_lossy(&user_agent[..user_agent.len().min(AGENT_MAX_BYTES)]);
        let Machine { verdict, name } = self.crawlers.find(&text);
        let Found { browser, os, device } = self.families.find(&text);
        Agent { verdict, device, browser: Name::new(if verdict == Verdict::Browser { browser } else { name }), os }
    }
}

// === impl Name ===

impl Name {
    fn new(text: &str) -> Name {
        let text = cut(text, AGENT_NAME_MAX_BYTES);
        let mut bytes = [0; AGENT_NAME_MAX_BYTES];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Name { len: text.len() as u8, bytes }
    }

    pub fn as_str(&self) -> &str {
        // Cut between two characters when the value was made.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_machine_has_the_name_on_the_list() {
        let agents = Agents::load().unwrap();
        let google = "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) AppleWebKit/537.36 Chrome/138.0 Mobile Safari/537.36 \
                      (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
        for (agent, verdict, browser) in [
            (google, Verdict::Bot, "Googlebot"),
            ("WhatsApp/2.23.20.0 A", Verdict::Preview, "WhatsApp"),
            ("facebookexternalhit/1.1 Facebot Twitterbot/1.0", Verdict::Preview, "facebookexternalhit"),
            ("Wget/1.21.3", Verdict::Bot, ""),
            ("NobodyKnowsMe (+https://nobody.example)", Verdict::Bot, ""),
            ("", Verdict::Bot, ""),
            ("curl/8.5.0", Verdict::Browser, "curl"),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", Verdict::Browser, "Firefox"),
        ] {
            let read = agents.read(agent.as_bytes());
            assert_eq!((read.verdict, &*read.browser), (verdict, browser), "{agent}");
        }
        assert_eq!(agents.read(google.as_bytes()).device(None), Device::Mobile, "it asks for what a phone would see");
    }

    #[test]
    fn the_client_hint_speaks_for_a_cut_user_agent() {
        let agents = Agents::load().unwrap();
        let cut = agents.read(b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/138.0.0.0 Safari/537.36");
        assert_eq!(cut.device(Some(true)), Device::Mobile);
        assert_eq!(cut.device(Some(false)), Device::Desktop);
        assert_eq!(cut.device(None), Device::Desktop);
        let tablet = agents.read(b"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) Safari/604.1");
        assert_eq!(tablet.device(Some(true)), Device::Tablet);
    }

    proptest! {
        #[test]
        fn noise_is_read_without_harm(noise in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            static AGENTS: std::sync::OnceLock<Agents> = std::sync::OnceLock::new();
            let agents = AGENTS.get_or_init(|| Agents::load().unwrap());
            prop_assert_eq!(agents.read(&noise), agents.read(&noise[..noise.len().min(AGENT_MAX_BYTES)]));
        }
    }
}
