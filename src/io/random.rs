//! Random bytes for secrets and slugs, from the cryptographic library that TLS brings along.

/// Fills `bytes` from the CSPRNG. It fails only where the operating system gives no randomness at all.
pub fn fill(bytes: &mut [u8]) -> std::io::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(bytes)
        .map_err(|_| std::io::Error::other("the operating system gives no random bytes"))
}

/// As many random bytes as the caller asks for.
pub fn bytes<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}
