//! Webhooks of others: nothing is believed that the secret did not sign, what it signed is believed in its time only, and any body
//! is read without a panic, into facts that say what they are of.
#![no_main]

use std::sync::LazyLock;

use fingerpost::{
    config::secret::Secret,
    core::time::Millis,
    referral::{
        deed::Deed,
        inbound::{Door, signature},
    },
};
use libfuzzer_sys::fuzz_target;

/// 2026-03-01T12:00:00Z.
const NOW: Millis = Millis(1_772_366_400_000);

static DOORS: LazyLock<Vec<Door>> = LazyLock::new(|| {
    let files = ["hubspot", "intercom", "make", "n8n", "salesforce", "zapier"];
    let read = |name: &&str| {
        let path = format!("{}/../config/inbound/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("a mapping that comes with us");
        let door: serde_json::Value = serde_json::from_str(&text.replace("PROGRAM", "spring")).expect("JSON");
        let settings = door["settings"].as_object().expect("settings").clone();
        Door::read("generic", settings).expect("a mapping that is taken")
    };
    let stripe = Door::read("stripe", serde_json::Map::new()).expect("the least that Stripe needs");
    files.iter().map(read).chain([stripe]).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let (header, body) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let secrets = [Secret::new("whsec_fuzz_fuzz_fuzz_fuzz")];
    if let Ok(header) = std::str::from_utf8(header) {
        // The secret is not in the corpus: whoever gets past this has forged a MAC.
        assert!(signature::stripe(Some(header), body, &secrets, NOW).is_err(), "{header}");
    }
    let seconds = NOW.0 / 1_000;
    let good = signed(&secrets[0], seconds, body);
    assert_eq!(signature::stripe(Some(&good), body, &secrets, NOW), Ok(()));
    let late = signed(&secrets[0], seconds - 301, body);
    assert!(signature::stripe(Some(&late), body, &secrets, NOW).is_err());
    if let Some((first, rest)) = body.split_first() {
        let other = [&[first ^ 1], rest].concat();
        assert!(signature::stripe(Some(&good), &other, &secrets, NOW).is_err());
    }
    for door in DOORS.iter() {
        match door.events("fuzz", body, &|_| None) {
            Err(mistakes) => assert!(mistakes.iter().all(|m| !m.problem.is_empty()) && !mistakes.is_empty()),
            Ok(events) => {
                for event in events {
                    assert!(!event.id.is_empty() && event.id.len() <= 255);
                    assert!(!event.deeds.is_empty() || !event.why.is_empty(), "ignored without a reason");
                    for deed in event.deeds {
                        if let Deed::Conversion(told) = deed {
                            assert!(told.money.is_none_or(|money| money.is_sane()), "{told:?}");
                        }
                    }
                }
            }
        }
    }
});

fn signed(secret: &Secret, seconds: i64, body: &[u8]) -> String {
    use aws_lc_rs::hmac;
    let message = [seconds.to_string().as_bytes(), b".", body].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()), &message);
    format!("t={seconds},v1={}", data_encoding::HEXLOWER.encode(tag.as_ref()))
}
