//! Limits of people's pages: what a design may hold, and how often somebody may try to log in.

use std::time::Duration;

/// Text of a page's own, characters.
pub const PAGE_TEXT_MAX_CHARS: usize = 500;
/// Text of one block of a page, characters.
pub const PAGE_BLOCK_TEXT_MAX_CHARS: usize = 5_000;
/// Blocks before or after one step of a page.
pub const PAGE_BLOCKS_MAX: usize = 12;
/// Banners and mails that a program offers to its partners.
pub const PAGE_PROMOTIONS_MAX: usize = 24;
/// CSS variables of a page, and bytes of one's value.
pub const PAGE_VARIABLES_MAX: usize = 16;
/// The same.
pub const PAGE_VARIABLE_MAX_BYTES: usize = 100;
/// Name of a page's file, bytes.
pub const PAGE_FILE_NAME_MAX_BYTES: usize = 60;
/// One file of a page, bytes.
pub const PAGE_FILE_MAX_BYTES: usize = 512 * 1024;
/// Files of one page.
pub const PAGE_FILES_MAX: i64 = 20;
/// Body of a form on our pages, bytes. Uploads have their own.
pub const PAGE_FORM_MAX_BYTES: usize = 32 * 1024;
/// Digits of a mailed log-in code.
pub const LOGIN_CODE_DIGITS: usize = 6;
/// How long a mailed code opens something.
pub const LOGIN_CODE_TTL: Duration = Duration::from_secs(600);
/// Tries of one code.
pub const LOGIN_CODE_TRIES: i64 = 5;
/// Codes that one network is mailed for one address within an hour; further ones are not mailed.
pub const LOGIN_CODES_PER_HOUR: i64 = 5;
/// The same of all networks: so many codes with [`LOGIN_CODE_TRIES`] each can be guessed at.
pub const LOGIN_CODES_OF_ADDRESS_PER_HOUR: i64 = 15;
/// Codes that one network may ask for, and tries that it may make, within a minute.
pub const LOGINS_PER_MINUTE: u32 = 20;
/// A mailed code leaves within that long, at random: when it does tells nobody who is registered.
pub const LOGIN_MAIL_SPREAD: Duration = Duration::from_secs(2);
/// How long partners stay logged in, and operators.
pub const SESSION_TTL: Duration = Duration::from_secs(2 * 3_600);
/// The same.
pub const ADMIN_SESSION_TTL: Duration = Duration::from_secs(8 * 3_600);
