//! Channels: where a share link can be shared, and the address of each one's share form.

use super::percent;

/// A place to share in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    Whatsapp,
    Facebook,
    X,
    Linkedin,
    Email,
    Telegram,
    Reddit,
    Pinterest,
    Bluesky,
    Threads,
    Tumblr,
    Line,
    Sms,
}

impl Channel {
    /// Each with its name in addresses and reports, and its form up to where the encoded link goes.
    const FORMS: &'static [(Channel, &'static str, &'static str)] = &[
        (Channel::Whatsapp, "whatsapp", "https://wa.me/?text="),
        (Channel::Facebook, "facebook", "https://www.facebook.com/sharer/sharer.php?u="),
        (Channel::X, "x", "https://x.com/intent/post?url="),
        (Channel::Linkedin, "linkedin", "https://www.linkedin.com/sharing/share-offsite/?url="),
        (Channel::Email, "email", "mailto:?body="),
        (Channel::Telegram, "telegram", "https://t.me/share/url?url="),
        (Channel::Reddit, "reddit", "https://www.reddit.com/submit?url="),
        (Channel::Pinterest, "pinterest", "https://www.pinterest.com/pin/create/button/?url="),
        (Channel::Bluesky, "bluesky", "https://bsky.app/intent/compose?text="),
        (Channel::Threads, "threads", "https://www.threads.net/intent/post?text="),
        (Channel::Tumblr, "tumblr", "https://www.tumblr.com/widgets/share/tool?canonicalUrl="),
        (Channel::Line, "line", "https://social-plugins.line.me/lineit/share?url="),
        (Channel::Sms, "sms", "sms:?&body="),
    ];

    pub fn from_name(name: &[u8]) -> Option<Channel> {
        Self::FORMS
            .iter()
            .find(|(_, known, _)| known.as_bytes().eq_ignore_ascii_case(name))
            .map(|(channel, ..)| *channel)
    }

    /// All of them, in the order in which they are offered.
    pub fn all() -> impl Iterator<Item = Channel> {
        Self::FORMS.iter().map(|(channel, ..)| *channel)
    }

    pub fn name(self) -> &'static str {
        self.form().0
    }

    /// Appends the address of the share form for `link`.
    pub fn address(self, link: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(self.form().1.as_bytes());
        percent::encode(link, out);
    }

    fn form(self) -> (&'static str, &'static str) {
        // Every channel stands in the table; the test counts them.
        Self::FORMS.iter().find(|(channel, ..)| *channel == self).map_or(("", ""), |(_, name, form)| (name, form))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_has_a_form_that_carries_the_link() {
        assert_eq!(Channel::FORMS.len(), Channel::Sms as usize + 1);
        for (channel, name, _) in Channel::FORMS {
            assert_eq!(Channel::from_name(name.to_uppercase().as_bytes()), Some(*channel));
            let mut out = Vec::new();
            channel.address(b"https://r.example/k3x9?a=1&b=2", &mut out);
            let address = url::Url::parse(std::str::from_utf8(&out).unwrap()).unwrap();
            assert!(address.query_pairs().any(|(_, value)| value == "https://r.example/k3x9?a=1&b=2"), "{name}");
        }
    }
}
