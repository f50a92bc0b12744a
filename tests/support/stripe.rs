//! Signs as Stripe does.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use aws_lc_rs::hmac;

/// The header `Stripe-Signature` of a body that is sent now.
pub fn signature(secret: &str, body: &[u8]) -> String {
    let seconds = jiff::Timestamp::now().as_second();
    format!("t={seconds},v1={}", hex(secret, &[seconds.to_string().as_bytes(), b".", body].concat()))
}

/// HMAC-SHA256 in hexadecimal digits.
pub fn hex(secret: &str, message: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message);
    data_encoding::HEXLOWER.encode(tag.as_ref())
}
