//! The snapshot file: there and back, and every kind of damage.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::{
    catalog::{feed::Position, snapshot},
    core::{
        code::Code,
        preview::Preview,
        program::{Attribution, Status},
        rule::Rule,
    },
    links::{self, LinkMore, Links, PartnerMore},
};

fn position() -> Position {
    Position { catalog: "00112233445566778899aabbccddeeff".to_owned(), last: 77, mark: i64::MIN + 5 }
}

/// The whole index as text, in a fixed order.
fn picture(links: &Links) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    lines.extend(links.programs.iter().map(|e| format!("program {:?} {:?}", e.key(), e.value())));
    lines.extend(links.partners.iter().map(|e| format!("partner {:?} {:?}", e.key(), e.value())));
    lines.extend(links.links.iter().map(|e| format!("link {:?} {:?}", e.key(), e.value())));
    lines.extend(links.ads.iter().map(|e| format!("ad {:?}", e.key())));
    lines.extend(links.share_links.iter().map(|e| format!("share {:?} {:?}", e.key(), e.value())));
    lines.sort();
    lines
}

fn codes() -> impl Strategy<Value = Code> {
    "[a-z0-9][a-z0-9._-]{0,11}".prop_map(|text| text.parse().unwrap())
}

fn code_lists() -> impl Strategy<Value = Box<[Code]>> {
    prop::collection::vec(codes(), 0..3).prop_map(Into::into)
}

fn texts() -> impl Strategy<Value = Option<Box<str>>> {
    prop::option::of("[a-zA-Zä€]{1,9}".prop_map(Into::into))
}

fn previews() -> impl Strategy<Value = Option<Box<Preview>>> {
    let fields = (texts(), texts(), texts(), texts());
    let previews =
        fields.prop_map(|(title, description, image, site_name)| Preview { title, description, image, site_name });
    prop::option::of(previews.prop_map(Box::new))
}

fn mores() -> impl Strategy<Value = LinkMore> {
    let rules = prop::collection::vec("[a-z]{1,5}", 0..3).prop_map(|hosts| {
        hosts.into_iter().map(|host| Rule { address: format!("https://{host}.example/"), ..Rule::default() }).collect()
    });
    let limits = (prop::option::of(0..i64::MAX), prop::option::of(0..u64::MAX), any::<u64>());
    ("\\PC{0,9}", prop::option::of(codes()), code_lists(), rules, limits, (texts(), texts(), texts(), previews()))
        .prop_map(|(name, partner, programs, rules, (expires, max_clicks, clicks), (fallback, one, two, preview))| {
            LinkMore {
                name: name.into(),
                partner,
                programs,
                rules,
                fallback,
                expires_at: expires.map(Millis),
                max_clicks,
                clicks: clicks.into(),
                to_hosts: one.clone().into_iter().collect(),
                click_parameter: one,
                partner_parameter: two.clone(),
                ad_parameter: two,
                preview,
            }
        })
}

fn indexes() -> impl Strategy<Value = Links> {
    let link_values = ("[a-z]{1,60}", prop::option::of(mores().prop_map(std::sync::Arc::new)));
    let programs = prop::collection::vec((codes(), any::<bool>(), 1..4_000u32, texts(), "\\PC{0,9}", previews()), 0..4);
    let partners = prop::collection::vec((codes(), any::<bool>(), code_lists(), code_lists()), 0..20);
    let all_links = prop::collection::vec((codes(), link_values), 0..40);
    let ads = prop::collection::vec((codes(), codes()), 0..20);
    let shares = prop::collection::vec((codes(), codes(), codes(), prop::option::of(codes())), 0..20);
    (programs, partners, all_links, ads, shares).prop_map(|(programs, partners, all_links, ads, shares)| {
        let links = Links::new();
        for (code, first, window_days, domain, name, preview) in programs {
            let attribution = if first { Attribution::FirstTouch } else { Attribution::LastTouch };
            links.programs.insert(
                code,
                links::Program {
                    name: name.into(),
                    status: Status::Active,
                    attribution,
                    window_days,
                    domain: domain.map(Into::into),
                    preview,
                },
            );
        }
        for (code, paused, programs, allowed) in partners {
            let status = if paused { Status::Paused } else { Status::Active };
            let more =
                (!programs.is_empty() || !allowed.is_empty()).then(|| Arc::new(PartnerMore { programs, allowed }));
            links.partners.insert(code, links::Partner { status, more });
        }
        for (code, (address, more)) in all_links {
            links.links.insert(&code, &address, more);
        }
        for (partner, code) in ads {
            links.insert_ad(&partner, &code);
        }
        for (slug, link, partner, ad) in shares {
            links.share_links.insert(slug, links::ShareLink { link, partner, ad });
        }
        links
    })
}

fn round_trip(path: &Path, links: &Links) -> Links {
    snapshot::save(path, links, &position(), NOON).unwrap();
    let mut loaded = Links::new();
    let said = snapshot::load(path, &mut loaded).unwrap().unwrap();
    assert_eq!((said.position, said.saved_at), (position(), NOON));
    loaded
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_saved_is_loaded(links in indexes()) {
        let folder = tempfile::tempdir().unwrap();
        let loaded = round_trip(&folder.path().join("links.snapshot"), &links);
        prop_assert_eq!(picture(&loaded), picture(&links));
        prop_assert_eq!(loaded.applied.load(Ordering::Relaxed), 77);
    }

    /// Any flipped bit and any cut is found, and leaves an empty index.
    #[test]
    fn damage_is_found(links in indexes(), at in any::<prop::sample::Index>(), bit in 0..8u8, cut in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("links.snapshot");
        snapshot::save(&path, &links, &position(), NOON).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        std::fs::write(&path, bytes).unwrap();
        let mut loaded = Links::new();
        prop_assert!(snapshot::load(&path, &mut loaded).is_err(), "byte {} bit {} cut {}", at, bit, cut);
        prop_assert!(loaded.is_empty());
    }
}

#[test]
fn several_blocks_fit_together() {
    let folder = tempfile::tempdir().unwrap();
    let links = Links::new();
    for n in 0..20_000 {
        let address = format!("https://shop.example/{n}/{}", "x".repeat(30));
        links.links.insert(&format!("link-{n}"), &address, None);
    }
    let loaded = round_trip(&folder.path().join("s"), &links);
    assert_eq!(picture(&loaded), picture(&links));
}

#[test]
fn a_missing_a_foreign_and_a_newer_file_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("links.snapshot");
    let load = || snapshot::load(&path, &mut Links::new());
    assert!(load().unwrap().is_none());
    std::fs::write(&path, "x".repeat(200)).unwrap();
    assert!(matches!(load(), Err(SnapshotError::NoSnapshot)));
    snapshot::save(&path, &Links::new(), &position(), NOON).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[6] = 9;
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(load(), Err(SnapshotError::Version(9))));
}

/// A file as version 2 was written: one program, one link that ends after five clicks.
pub(super) fn version_2(position: &Position) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8][..], text.as_bytes()].concat();
    let empty: &[u8] = &[0];
    let program = [&[0][..], &text("spring"), &text("active"), &text("last_touch"), &[30], empty].concat();
    let link = [&[3][..], &text("few"), &text("https://a.example/"), &[0; 6], &[6], &[0; 5]].concat();
    let block = [program, link].concat();
    let crc = |bytes: &[u8]| crc_fast::crc32_iscsi(bytes).to_le_bytes();
    let counts: Vec<u8> = [1u64, 0, 1, 0, 0].iter().flat_map(|count| count.to_le_bytes()).collect();
    let id = data_encoding::HEXLOWER.decode(position.catalog.as_bytes()).unwrap();
    let (last, mark) = (position.last.to_le_bytes(), position.mark.to_le_bytes());
    let head = [&b"FPSNAP"[..], &2u16.to_le_bytes(), &id, &last, &mark, &NOON.0.to_le_bytes(), &counts].concat();
    let sum = crc(&head);
    let length = (block.len() as u32).to_le_bytes();
    [head, sum.to_vec(), length.to_vec(), crc(&block).to_vec(), block, vec![0; 4], crc(&counts).to_vec()].concat()
}

#[test]
fn the_version_before_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("links.snapshot");
    std::fs::write(&path, version_2(&position())).unwrap();
    let mut links = Links::new();
    let said = snapshot::load(&path, &mut links).unwrap().unwrap();
    assert_eq!((said.position, said.saved_at, said.is_whole), (position(), NOON, false));
    let program = links.programs.get("spring").unwrap();
    assert_eq!((&*program.name, program.window_days, &program.preview), ("", 30, &None));
    let link = links.links.get("few").unwrap();
    let more = link.more().unwrap();
    assert_eq!((link.address(), more.max_clicks, &more.preview), ("https://a.example/", Some(5), &None));
}
