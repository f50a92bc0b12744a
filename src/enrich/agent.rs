//! What sends a request, from its User-Agent: machine or browser, kind of device, browser, operating system.
//!
//! Browser and operating system are uap-core's families (`config/agents/README.md`); versions are left out, reports group by
//! family. uap-core's device list is larger than both others together and names models; five words are enough here, so the
//! device is ours. Measured on one core, release: 20 ms and 11 MiB to compile the families, 2 µs for Chrome: [`super::AgentCache`]
//! stands before it.

use std::{fmt, ops::Deref};

use ua_parser::{Regexes, os, user_agent};

use super::{crawlers::Crawlers, cut};
use crate::core::{
    event::Device,
    limits::{AGENT_MAX_BYTES, AGENT_NAME_MAX_BYTES},
};

const FAMILIES: &str = include_str!("../../config/agents/uap.json");

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
    /// For example `Chrome Mobile`.
    pub browser: Name,
    /// For example `Android`.
    pub os: Name,
}

/// The compiled lists, shared by all workers.
pub struct Agents {
    crawlers: Crawlers,
    browsers: user_agent::Extractor<'static>,
    systems: os::Extractor<'static>,
}

impl Agent {
    /// The kind of device. `mobile_hint` is Sec-CH-UA-Mobile (`?1` is true): browsers that cut their User-Agent say it there.
    pub fn device(&self, mobile_hint: Option<bool>) -> Device {
        match (self.device, mobile_hint) {
            (Device::Desktop | Device::Other | Device::Unspecified, Some(true)) => Device::Mobile,
            (device, _) => device,
        }
    }
}

impl fmt::Debug for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agents").finish_non_exhaustive()
    }
}

impl Agents {
    /// Compiles the lists that ship inside.
    pub(super) fn load() -> Result<Agents, String> {
        let error = |error: &dyn fmt::Display| format!("config/agents/uap.json: {error}");
        let families: Regexes<'static> = serde_json::from_str(FAMILIES).map_err(|e| error(&e))?;
        let browsers = user_agent::Builder::new().push_all(families.user_agent_parsers).map_err(|e| error(&e))?;
        let systems = os::Builder::new().push_all(families.os_parsers).map_err(|e| error(&e))?;
        Ok(Agents {
            crawlers: Crawlers::load()?,
            browsers: browsers.build().map_err(|e| error(&e))?,
            systems: systems.build().map_err(|e| error(&e))?,
        })
    }

    /// Reads a User-Agent; only its first [`AGENT_MAX_BYTES`] are looked at. Microseconds: go through the cache.
    pub fn read(&self, user_agent: &[u8]) -> Agent {
        let text = String::from_utf8_lossy(&user_agent[..user_agent.len().min(AGENT_MAX_BYTES)]);
        Agent {
            verdict: self.crawlers.verdict(&text),
            device: device(&text),
            browser: self.browsers.extract(&text).map_or_else(Name::default, |found| Name::new(&found.family)),
            os: self.systems.extract(&text).map_or_else(Name::default, |found| Name::new(&found.os)),
        }
    }
}

/// The kind of device. The order matters: televisions and tablets say `Android` or `Linux` too. An iPad that asks for desktop
/// sites says that it is a Macintosh, and nothing tells.
fn device(agent: &str) -> Device {
    const TELEVISIONS: &[&str] = &[
        "SMART-TV",
        "SmartTV",
        "Smart-TV",
        "SmartHub",
        "AppleTV",
        "Apple TV",
        "GoogleTV",
        "Google TV",
        "Android TV",
        "BRAVIA",
        "HbbTV",
        "CrKey",
        "Roku",
        "; AFT",
        "NetCast",
        "Web0S",
        "TV Safari",
        "DTV",
    ];
    const TABLETS: &[&str] = &["iPad", "Tablet", "tablet", "Kindle", "PlayBook", "Silk/"];
    const PHONES: &[&str] = &[
        "Mobile",
        "iPhone",
        "iPod",
        "Windows Phone",
        "BlackBerry",
        "Opera Mini",
        "Opera Mobi",
        "KAIOS",
        "Symbian",
        "UCWEB",
    ];
    const DESKTOPS: &[&str] = &["Windows", "Macintosh", "X11", "CrOS", "Linux"];
    const CONSOLES: &[&str] = &["PlayStation", "Xbox", "Nintendo"];
    let has = |words: &[&str]| words.iter().any(|word| agent.contains(word));
    if agent.trim().is_empty() {
        Device::Unspecified
    } else if has(TELEVISIONS) {
        Device::Tv
    } else if has(CONSOLES) {
        Device::Other
    } else if has(TABLETS) && !(agent.contains("Silk/") && agent.contains("Mobile"))
        || agent.contains("Android") && !has(PHONES)
    {
        Device::Tablet
    } else if has(PHONES) {
        Device::Mobile
    } else if has(DESKTOPS) {
        Device::Desktop
    } else {
        Device::Other
    }
}

// === impl Name ===

impl Name {
    /// uap-core's word for what it does not know is nothing to us.
    fn new(text: &str) -> Name {
        let text = if text == "Other" { "" } else { cut(text.trim(), AGENT_NAME_MAX_BYTES) };
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
    fn browsers_systems_and_devices_are_told_apart() {
        let agents = Agents::load().unwrap();
        for (agent, browser, os, device) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
                "Chrome",
                "Windows",
                Device::Desktop,
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0",
                "Edge",
                "Windows",
                Device::Desktop,
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox",
                "Linux",
                Device::Desktop,
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
                "Safari",
                "Mac OS X",
                Device::Desktop,
            ),
            (
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
                "Chrome",
                "Chrome OS",
                Device::Desktop,
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
                "Mobile Safari",
                "iOS",
                Device::Mobile,
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
                "Chrome Mobile",
                "Android",
                Device::Mobile,
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
                "Chrome",
                "Android",
                Device::Tablet,
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
                "Samsung Internet",
                "Android",
                Device::Mobile,
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1",
                "Mobile Safari",
                "iOS",
                Device::Tablet,
            ),
            (
                "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/94.0.4606.128 Safari/537.36 WebAppManager",
                "Chrome",
                "Web0S",
                Device::Tv,
            ),
            (
                "Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0 Safari/605.1.15",
                "Safari",
                "",
                Device::Other,
            ),
            ("curl/8.5.0", "curl", "", Device::Other),
            ("", "", "", Device::Unspecified),
        ] {
            let read = agents.read(agent.as_bytes());
            let found = (&*read.browser, &*read.os, read.device(None));
            assert_eq!(found, (browser, os, device), "{agent}");
        }
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
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn noise_is_read_without_harm(noise in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            static AGENTS: std::sync::OnceLock<Agents> = std::sync::OnceLock::new();
            let read = AGENTS.get_or_init(|| Agents::load().unwrap()).read(&noise);
            prop_assert!(read.browser.len() <= AGENT_NAME_MAX_BYTES);
        }
    }
}
