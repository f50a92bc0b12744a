//! Who runs this process, for the audit log.

/// The name of the process's user as the machine knows it; the number where it has none.
pub fn user() -> String {
    let id = rustix::process::getuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    named(&users, id).map_or_else(|| id.to_string(), str::to_owned)
}

/// `name:password:id:…`, a line a user.
fn named(users: &str, id: u32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(id) && !name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let users = "root:x:0:0::/root:/bin/sh\nbroken\njane:x:1000:1000::/home/jane:/bin/sh\n";
        assert_eq!((named(users, 1000), named(users, 7)), (Some("jane"), None));
    }
}
