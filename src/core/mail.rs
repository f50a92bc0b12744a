//! E-mail addresses, as far as they tell whether two are one person's.

/// Hosts that leave dots before the @ out of account, and their one name.
const WITHOUT_DOTS: &[(&str, &str)] = &[("gmail.com", "gmail.com"), ("googlemail.com", "gmail.com")];

/// What two ways to write one mailbox have in common: lower case; without what stands behind a `+` (RFC 5233 calls it detail); at
/// hosts that ignore them without dots. It is for comparison only: mail goes to the address as it was given.
pub fn normal(address: &str) -> String {
    let address = address.trim().to_lowercase();
    let Some((local, host)) = address.rsplit_once('@') else { return address };
    // An address that begins with the plus has nothing else that tells it apart.
    let local = match local.split_once('+') {
        Some((before, _)) if !before.is_empty() => before,
        _ => local,
    };
    match WITHOUT_DOTS.iter().find(|(known, _)| *known == host) {
        Some((_, host)) => format!("{}@{host}", local.replace('.', "")),
        None => format!("{local}@{host}"),
    }
}

/// The host of an address, in lower case; empty where it has none.
pub fn host(address: &str) -> String {
    address.rsplit_once('@').map(|(_, host)| host.trim().to_lowercase()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_write_one_mailbox_are_the_same_and_others_are_not() {
        for (address, expected) in [
            ("Ann@Home.example", "ann@home.example"),
            ("ann+shop@home.example", "ann@home.example"),
            ("ann+shop+2@home.example", "ann@home.example"),
            ("+ann@home.example", "+ann@home.example"),
            ("a.n.n@home.example", "a.n.n@home.example"),
            ("A.n.n+shop@gmail.com", "ann@gmail.com"),
            ("ann@googlemail.com", "ann@gmail.com"),
            ("ann@notgmail.com", "ann@notgmail.com"),
            ("nobody", "nobody"),
        ] {
            assert_eq!(normal(address), expected, "{address}");
        }
        assert_eq!((host("Ann@Home.example"), host("nobody")), ("home.example".to_owned(), String::new()));
    }
}
