//! How much one network may send through public doors: so many at once, then so many a minute (GCRA). Memory is bounded.

use std::{collections::HashMap, net::IpAddr, sync::Mutex};

use super::{limits::FORM_NETWORKS_MAX, time::Millis};

/// A limiter of networks.
#[derive(Debug)]
pub struct Limiter {
    per_minute: u32,
    /// When the next one would be due if they came evenly.
    due: Mutex<HashMap<[u8; 8], i64>>,
}

const MINUTE_MS: i64 = 60_000;

impl Limiter {
    pub fn new(per_minute: u32) -> Limiter {
        Limiter { per_minute, due: Mutex::default() }
    }

    /// Whether one more may come; else after how many seconds.
    pub fn admit(&self, client: IpAddr, now: Millis) -> Result<(), u64> {
        let every = MINUTE_MS / i64::from(self.per_minute);
        let mut due = self.due.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let key = network(client);
        if !due.contains_key(&key) && due.len() >= FORM_NETWORKS_MAX {
            due.retain(|_, due| *due > now.0);
            if due.len() >= FORM_NETWORKS_MAX {
                return Err(MINUTE_MS.unsigned_abs() / 1_000);
            }
        }
        let at = due.entry(key).or_insert(now.0);
        let next = (*at).max(now.0) + every;
        let wait = next - now.0 - MINUTE_MS;
        if wait > 0 {
            return Err(wait.unsigned_abs().div_ceil(1_000));
        }
        *at = next;
        Ok(())
    }
}

/// An IPv4 address; of an IPv6 address the half that its provider gave.
fn network(client: IpAddr) -> [u8; 8] {
    let mut network = [0; 8];
    match client.to_canonical() {
        IpAddr::V4(address) => network[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => network.copy_from_slice(&address.octets()[..8]),
    }
    network
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_a_minutes_worth_at_once_and_then_one_after_the_other() {
        let limiter = Limiter::new(30);
        let (one, same, other): (IpAddr, IpAddr, IpAddr) =
            ("2001:db8::1".parse().unwrap(), "2001:db8::ffff".parse().unwrap(), "192.0.2.1".parse().unwrap());
        for _ in 0..30 {
            assert_eq!(limiter.admit(one, Millis(0)), Ok(()));
        }
        assert_eq!(limiter.admit(same, Millis(0)), Err(2));
        assert_eq!(limiter.admit(other, Millis(0)), Ok(()));
        assert_eq!(limiter.admit(one, Millis(1_999)), Err(1));
        assert_eq!(limiter.admit(same, Millis(2_000)), Ok(()));
        assert_eq!(limiter.admit(one, Millis(2_000)), Err(2));
    }

    #[test]
    fn memory_is_bounded() {
        let limiter = Limiter::new(30);
        let address = |number: u32| IpAddr::from(std::net::Ipv4Addr::from(number));
        let count = u32::try_from(FORM_NETWORKS_MAX).unwrap();
        for number in 0..count {
            assert_eq!(limiter.admit(address(number), Millis(0)), Ok(()));
        }
        assert_eq!(limiter.admit(address(count), Millis(0)), Err(60), "no room for a new one");
        assert_eq!(limiter.admit(address(0), Millis(0)), Ok(()), "who is known goes on");
        assert_eq!(limiter.admit(address(count), Millis(10_000)), Ok(()), "those who were quiet go");
        assert_eq!(limiter.due.lock().unwrap().len(), 1);
    }
}
