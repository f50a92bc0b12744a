//! Hosts of mail that is thrown away. The list and where it comes from: `config/mail/disposable_domains.txt`.

use std::sync::LazyLock;

const LIST: &str = include_str!("../../../config/mail/disposable_domains.txt");

static DOMAINS: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| LIST.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect());

/// Whether a host, or a domain above it, is known for mail that is thrown away, to all or to a program.
pub(super) fn is_disposable(host: &str, of_program: &[String]) -> bool {
    let mut domain = host;
    loop {
        if DOMAINS.binary_search(&domain).is_ok() || of_program.iter().any(|known| known == domain) {
            return true;
        }
        match domain.split_once('.') {
            // A top-level domain alone is nobody's.
            Some((_, above)) if above.contains('.') => domain = above,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order_and_made_of_domains() {
        assert!(DOMAINS.len() > 1_000, "{}", DOMAINS.len());
        assert!(DOMAINS.is_sorted_by(|a, b| a < b), "a search would miss what is out of order");
        let lower = |domain: &&str| domain.chars().all(|c| !c.is_uppercase() && !c.is_whitespace());
        assert!(DOMAINS.iter().all(lower));
    }

    #[test]
    fn domains_and_names_below_them() {
        let own = ["throw.example".to_owned()];
        for (host, disposable) in [
            ("mailinator.com", true),
            ("eu.mailinator.com", true),
            ("amailinator.com", false),
            ("gmail.com", false),
            ("com", false),
            ("", false),
            ("throw.example", true),
            ("a.throw.example", true),
            ("home.example", false),
        ] {
            assert_eq!(is_disposable(host, &own), disposable, "{host}");
        }
        assert!(!is_disposable("throw.example", &[]));
    }
}
