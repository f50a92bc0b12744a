//! Browser, operating system and device of a User-Agent, from the few words that tell them.
//!
//! Why not uap-core's regular expressions (crate `ua-parser`)? Tried, with the browser and system lists only, release,
//! one core: 28 ms and 10 MiB to compile are fine, 4 µs a text too. But each thread's lazy automata grew to 14 MiB over
//! 17,000 real texts and to 37 MiB over three million spliced ones, where single texts took milliseconds; and their
//! names are partly copied from the text, so that visitors would choose what reports group by. Here one automaton over
//! a hundred words answers in a fraction of a microsecond, from a closed set of names, with memory that never grows.
//! What it does not know is empty.
//!
//! In each table the first word that occurs wins: most browsers name several others.

use aho_corasick::AhoCorasick;

use crate::core::event::Device;

/// Word, family.
const BROWSERS: &[(&str, &str)] = &[
    // Apps that open links in a window of their own.
    ("FBAN/Messenger", "Messenger"),
    ("Orca-Android", "Messenger"),
    ("Instagram ", "Instagram"),
    ("FBAN/", "Facebook"),
    ("FBAV/", "Facebook"),
    ("FB_IAB/", "Facebook"),
    ("MetaIAB Facebook", "Facebook"),
    ("musical_ly", "TikTok"),
    ("BytedanceWebview", "TikTok"),
    ("TikTok", "TikTok"),
    ("Snapchat/", "Snapchat"),
    ("Pinterest/", "Pinterest"),
    ("LinkedInApp", "LinkedIn"),
    ("Twitter for", "X"),
    ("TwitterAndroid", "X"),
    ("WhatsApp/", "WhatsApp"),
    ("MicroMessenger/", "WeChat"),
    ("KAKAOTALK", "KakaoTalk"),
    (" Line/", "LINE"),
    ("Viber/", "Viber"),
    ("Slack/", "Slack"),
    ("GSA/", "Google app"),
    // Browsers on somebody else's engine.
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Edge/", "Edge"),
    ("Opera Mini", "Opera Mini"),
    ("OPR/", "Opera"),
    ("OPX/", "Opera"),
    ("OPT/", "Opera"),
    ("OPiOS/", "Opera"),
    ("Opera", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex Browser"),
    ("Vivaldi/", "Vivaldi"),
    ("Brave/", "Brave"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("Ddg/", "DuckDuckGo"),
    ("Ecosia", "Ecosia"),
    ("Whale/", "Whale"),
    ("UCBrowser/", "UC Browser"),
    ("UCWEB", "UC Browser"),
    ("HuaweiBrowser/", "Huawei Browser"),
    ("MiuiBrowser/", "Mi Browser"),
    ("VivoBrowser/", "vivo Browser"),
    ("HeyTapBrowser/", "HeyTap Browser"),
    ("QQBrowser/", "QQ Browser"),
    ("baiduboxapp", "Baidu"),
    ("Silk/", "Silk"),
    ("Electron/", "Electron"),
    ("Focus/", "Firefox"),
    ("Klar/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    // Engines under their own name.
    ("; wv)", "Android WebView"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("MSIE ", "Internet Explorer"),
    ("Trident/", "Internet Explorer"),
    ("Android ", "Android Browser"),
    ("Safari/", "Safari"),
    ("AppleWebKit/", "WebKit"),
    // Tools that people type.
    ("curl/", "curl"),
    ("HTTPie/", "HTTPie"),
];

/// Word, family.
const SYSTEMS: &[(&str, &str)] = &[
    ("Windows Phone", "Windows Phone"),
    ("Xbox", "Xbox"),
    ("PlayStation", "PlayStation"),
    ("Nintendo", "Nintendo"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("AppleTV", "tvOS"),
    ("Apple TV", "tvOS"),
    ("iPhone", "iOS"),
    ("iPad", "iOS"),
    ("iPod", "iOS"),
    ("HarmonyOS", "HarmonyOS"),
    ("OpenHarmony", "HarmonyOS"),
    ("Tizen", "Tizen"),
    ("Web0S", "webOS"),
    ("webOS", "webOS"),
    ("KAIOS", "KaiOS"),
    ("Roku", "Roku"),
    ("Android", "Android"),
    ("Macintosh", "macOS"),
    ("Mac OS X", "macOS"),
    ("BlackBerry", "BlackBerry"),
    ("BB10", "BlackBerry"),
    ("Symbian", "Symbian"),
    ("FreeBSD", "BSD"),
    ("OpenBSD", "BSD"),
    ("NetBSD", "BSD"),
    ("Linux", "Linux"),
    ("X11", "Linux"),
];

/// Word, what it says of the device. The order matters across kinds only: see [`device`].
const DEVICES: &[(&str, Hint)] = &[
    ("SMART-TV", Hint::Television),
    ("SmartTV", Hint::Television),
    ("Smart-TV", Hint::Television),
    ("SmartHub", Hint::Television),
    ("AppleTV", Hint::Television),
    ("Apple TV", Hint::Television),
    ("GoogleTV", Hint::Television),
    ("Google TV", Hint::Television),
    ("Android TV", Hint::Television),
    ("BRAVIA", Hint::Television),
    ("HbbTV", Hint::Television),
    ("CrKey", Hint::Television),
    ("Roku", Hint::Television),
    ("; AFT", Hint::Television),
    ("NetCast", Hint::Television),
    ("Web0S", Hint::Television),
    ("TV Safari", Hint::Television),
    ("PlayStation", Hint::Console),
    ("Xbox", Hint::Console),
    ("Nintendo", Hint::Console),
    ("iPad", Hint::Tablet),
    ("Tablet", Hint::Tablet),
    ("tablet", Hint::Tablet),
    ("Kindle", Hint::Tablet),
    ("PlayBook", Hint::Tablet),
    ("Mobile", Hint::Phone),
    ("iPhone", Hint::Phone),
    ("iPod", Hint::Phone),
    ("Windows Phone", Hint::Phone),
    ("BlackBerry", Hint::Phone),
    ("Opera Mini", Hint::Phone),
    ("Opera Mobi", Hint::Phone),
    ("KAIOS", Hint::Phone),
    ("Symbian", Hint::Phone),
    ("UCWEB", Hint::Phone),
    ("Android", Hint::Android),
    ("Windows", Hint::Desktop),
    ("Macintosh", Hint::Desktop),
    ("X11", Hint::Desktop),
    ("CrOS", Hint::Desktop),
    ("Linux", Hint::Desktop),
];

/// What a word says of the device, as a bit.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Hint {
    Television = 1,
    Console = 2,
    Tablet = 4,
    Phone = 8,
    Android = 16,
    Desktop = 32,
}

/// What the words of a User-Agent tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) browser: &'static str,
    pub(super) os: &'static str,
    pub(super) device: Device,
}

/// The compiled tables.
#[derive(Debug)]
pub(super) struct Families(AhoCorasick);

impl Families {
    pub(super) fn load() -> Result<Families, String> {
        let words = BROWSERS.iter().chain(SYSTEMS).map(|(word, _)| *word).chain(DEVICES.iter().map(|(word, _)| *word));
        AhoCorasick::new(words).map(Families).map_err(|error| format!("src/enrich/families.rs: {error}"))
    }

    pub(super) fn find(&self, agent: &str) -> Found {
        let (mut browser, mut system, mut hints) = (BROWSERS.len(), SYSTEMS.len(), 0);
        for found in self.0.find_overlapping_iter(agent) {
            let word = found.pattern().as_usize();
            if word < BROWSERS.len() {
                browser = browser.min(word);
            } else if word < BROWSERS.len() + SYSTEMS.len() {
                system = system.min(word - BROWSERS.len());
            } else {
                hints |= DEVICES[word - BROWSERS.len() - SYSTEMS.len()].1 as u8;
            }
        }
        let family =
            |table: &'static [(&str, &'static str)], at: usize| table.get(at).map_or("", |(_, family)| *family);
        Found { browser: family(BROWSERS, browser), os: family(SYSTEMS, system), device: device(hints, agent) }
    }
}

/// Televisions and tablets say `Android` or `Linux` too, and an Android that does not say `Mobile` is a tablet. An iPad
/// that asks for desktop sites says that it is a Macintosh, and nothing tells.
fn device(hints: u8, agent: &str) -> Device {
    let has = |hint: Hint| hints & hint as u8 != 0;
    if has(Hint::Television) {
        Device::Tv
    } else if has(Hint::Console) {
        Device::Other
    } else if has(Hint::Tablet) || has(Hint::Android) && !has(Hint::Phone) {
        Device::Tablet
    } else if has(Hint::Phone) {
        Device::Mobile
    } else if has(Hint::Desktop) {
        Device::Desktop
    } else if agent.trim().is_empty() {
        Device::Unspecified
    } else {
        Device::Other
    }
}

#[cfg(test)]
#[path = "families_test.rs"]
mod tests;
