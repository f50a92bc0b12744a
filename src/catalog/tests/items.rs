//! Each kind of item: there and back, its mistakes, what it mentions, what stands in the way of deleting it.

use super::*;

#[tokio::test]
async fn a_link_comes_back_as_it_was_given_in_normal_form() {
    let fixture = Fixture::spring(BACKEND).await;
    let given = json!({
        "code": "Shampoo", "name": "Shampoo", "address": "HTTPS://Shop.Example/{partner}", "partner": "ABC123",
        "programs": ["spring"], "rules": [{"country": ["de"], "address": "https://de.shop.example"}],
        "fallback": "https://shop.example", "expires_at": "2026-12-31", "max_clicks": 100,
        "to_hosts": ["WWW.Bücher.example", "shop.example"], "click_parameter": "cid",
        "partner_parameter": "ref", "ad_parameter": "placement",
        "preview": {"title": " Shampoo ", "image": "HTTPS://Shop.Example/a.jpg", "site_name": ""},
    });
    let (link, created) = fixture.try_put::<Link>(given).await.unwrap();
    assert!(created);
    let read = fixture.catalog.get::<Link>(&["shampoo"]).await.unwrap();
    assert_eq!(read, link);
    let json = serde_json::to_value(&read).unwrap();
    assert_eq!(
        json,
        json!({
            "code": "shampoo", "name": "Shampoo", "address": "https://shop.example/{partner}", "partner": "abc123",
            "programs": ["spring"], "rules": [{"country": ["DE"], "address": "https://de.shop.example/"}],
            "fallback": "https://shop.example/", "expires_at": "2026-12-31T00:00:00.000Z", "max_clicks": 100,
            "to_hosts": ["www.xn--bcher-kva.example", "shop.example"], "click_parameter": "cid",
            "partner_parameter": "ref", "ad_parameter": "placement",
            "preview": {"title": "Shampoo", "image": "https://shop.example/a.jpg"},
            "created_at": "2026-03-01T12:00:00.000Z", "updated_at": "2026-03-01T12:00:00.000Z",
        })
    );
    // What was answered can be sent back; the time of creation stays.
    fixture.clock.advance(1_000);
    let (again, created) = fixture.try_put::<Link>(json).await.unwrap();
    assert!(!created);
    assert_eq!((again.created_at, again.updated_at), (NOON, NOON.plus(1_000)));
}

#[tokio::test]
async fn programs_partners_and_ads_come_back() {
    let fixture = Fixture::spring(BACKEND).await;
    let program = fixture
        .put::<Program>(json!({"code": "vip", "status": "paused", "attribution": "first_touch", "window_days": 7, "domain": ".Shop.Example",
            "preview": {"description": "Hair, \"cared\" for"}}))
        .await;
    assert_eq!(program.domain.as_deref(), Some("shop.example"));
    assert_eq!(fixture.catalog.get::<Program>(&["vip"]).await.unwrap(), program);
    let partner = fixture
        .put::<Partner>(json!({"code": "p2", "name": "Ann Lee", "first_name": "Ann", "email": "Ann@Shop.Example", "parent": "abc123",
            "programs": ["vip", "spring"], "status": "pending", "allowed": ["haircare", "later"]}))
        .await;
    assert_eq!(partner.email.as_deref(), Some("Ann@shop.example"));
    assert_eq!(partner.programs.iter().map(|c| c.as_str()).collect::<Vec<_>>(), ["vip", "spring"], "the order is kept");
    assert_eq!(fixture.catalog.get::<Partner>(&["p2"]).await.unwrap(), partner);
    let ad = fixture
        .put::<Ad>(json!({"partner": "p2", "code": "mail", "description": "a\nb", "media_type": "newsletter", "start_date": "2026-03-01"}))
        .await;
    assert_eq!(fixture.catalog.get::<Ad>(&["p2", "mail"]).await.unwrap(), ad);
}

#[test]
fn every_mistake_of_an_item_is_reported_at_once_with_its_field() {
    let long = "x".repeat(201);
    assert_eq!(
        wrong::<Link>(json!({
            "code": "a b", "name": long, "address": "javascript:x", "partner": "/", "programs": ["ok", "no way"],
            "rules": [{"country": ["Germany"], "address": "https://a.example"}], "fallback": "nowhere",
            "expires_at": "soon", "max_clicks": 0, "to_hosts": ["shop.example", "*.shop.example"],
            "click_parameter": "to", "partner_parameter": "a&b", "ad_parameter": 7, "adress": "x",
            "preview": {"title": "x".repeat(151), "image": "http://shop.example/a.jpg"},
        })),
        [
            "code",
            "name",
            "address",
            "partner",
            "programs[1]",
            "fallback",
            "expires_at",
            "max_clicks",
            "to_hosts[1]",
            "click_parameter",
            "partner_parameter",
            "ad_parameter",
            "preview.title",
            "preview.image",
            "rules[0].country[0]",
            "adress",
        ]
    );
    assert_eq!(
        wrong::<Program>(
            json!({"code": null, "status": "open", "attribution": 1, "window_days": 0, "domain": "localhost"})
        ),
        ["code", "status", "attribution", "window_days", "domain"]
    );
    assert_eq!(
        wrong::<Partner>(
            json!({"code": "a", "first_name": "A\u{0}", "email": "ann", "parent": "A", "programs": "spring", "status": "x"})
        ),
        ["first_name", "email", "programs", "status", "parent"]
    );
    assert_eq!(
        wrong::<Ad>(json!({"partner": "", "code": ".x", "start_date": "1st of May", "media_type": "m".repeat(65)})),
        ["partner", "code", "media_type", "start_date"]
    );
    assert_eq!(wrong::<ShareLink>(json!({"slug": "metrics", "link": ""})), ["slug", "link", "partner"]);
    assert_eq!(
        wrong::<Link>(json!({"code": "a", "address": "https://a.example", "rules": [{"contry": ["DE"]}]})),
        ["rules"]
    );
    for preview in [json!({"titel": "x"}), json!("x"), json!({"title": 7})] {
        assert_eq!(wrong::<Program>(json!({"code": "a", "preview": preview})), ["preview"], "{preview}");
    }
    assert_eq!(
        wrong::<Link>(json!({"code": "a", "address": "https://a.example", "partner_parameter": "fpc"})),
        ["partner_parameter"],
        "the token's default name is taken"
    );
}

#[tokio::test]
async fn email_addresses_hosts_and_parameters() {
    for email in ["a@b.example", "a.b+c@d.e.example"] {
        assert!(read_json::<Partner>(json!({"code": "a", "email": email})).is_ok(), "{email}");
    }
    for email in
        ["a", "@b.example", "a@", "a@b", "a b@c.example", "a@b c.example", &format!("{}@b.example", "x".repeat(250))]
    {
        assert_eq!(wrong::<Partner>(json!({"code": "a", "email": email})), ["email"], "{email}");
    }
    for host in
        ["https://shop.example", "shop.example:443", "shop.example/x", "a@shop.example", "*.example", "exa mple"]
    {
        assert_eq!(
            wrong::<Link>(json!({"code": "a", "address": "https://a.example", "to_hosts": [host]})),
            ["to_hosts[0]"],
            "{host}"
        );
    }
}

#[tokio::test]
async fn what_an_item_mentions_must_exist() {
    let fixture = Fixture::spring(BACKEND).await;
    let missing = async |result: Result<String, CatalogError>| match result {
        Err(CatalogError::Invalid(mistakes)) => mistakes.into_iter().map(|m| m.field).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let link =
        json!({"code": "x", "address": "https://a.example", "partner": "nobody", "programs": ["spring", "none"]});
    let link = fixture.try_put::<Link>(link).await.map(|(item, _)| item.key());
    assert_eq!(missing(link).await, ["partner", "programs[1]"]);
    let partner = json!({"code": "x", "parent": "nobody"});
    let partner = fixture.try_put::<Partner>(partner).await.map(|(item, _)| item.key());
    assert_eq!(missing(partner).await, ["parent"]);
    let ad = fixture.try_put::<Ad>(json!({"partner": "nobody", "code": "x"})).await.map(|(item, _)| item.key());
    assert_eq!(missing(ad).await, ["partner"]);
    let share = read_json(json!({"link": "none", "partner": "abc123", "ad": "none"})).unwrap();
    let share = fixture.catalog.share(share).await.map(|(item, _)| item.key());
    assert_eq!(missing(share).await, ["link", "ad"]);
}

#[tokio::test]
async fn no_partner_stands_above_itself() {
    let fixture = Fixture::new(BACKEND).await;
    fixture.put::<Partner>(json!({"code": "a"})).await;
    fixture.put::<Partner>(json!({"code": "b", "parent": "a"})).await;
    fixture.put::<Partner>(json!({"code": "c", "parent": "b"})).await;
    let error = fixture.try_put::<Partner>(json!({"code": "a", "parent": "c"})).await.unwrap_err().to_string();
    assert!(error.contains("circle"), "{error}");
    fixture.put::<Partner>(json!({"code": "b"})).await;
    fixture.put::<Partner>(json!({"code": "a", "parent": "c"})).await;
}

#[tokio::test]
async fn what_others_refer_to_stays_until_it_is_free() {
    let fixture = Fixture::spring(BACKEND).await;
    let (share, _) = fixture.share(json!({"link": "haircare", "partner": "abc123", "ad": "website2"})).await;
    let in_use = |result: Result<(), CatalogError>| match result {
        Err(CatalogError::InUse { by, .. }) => by,
        other => panic!("{other:?}"),
    };
    assert_eq!(in_use(fixture.catalog.delete::<Program>(&["spring"], true).await), ["partners: abc123"]);
    assert_eq!(
        in_use(fixture.catalog.delete::<Link>(&["haircare"], false).await),
        [format!("share links: {}", share.slug)]
    );
    assert_eq!(
        in_use(fixture.catalog.delete::<Partner>(&["abc123"], false).await),
        ["ads: website2".to_owned(), format!("share links: {}", share.slug)]
    );
    in_use(fixture.catalog.delete::<Ad>(&["abc123", "website2"], false).await);
    fixture.catalog.delete::<Partner>(&["abc123"], true).await.unwrap();
    for (kind, left) in [
        ("ads", fixture.catalog.get::<Ad>(&["abc123", "website2"]).await.err()),
        ("share links", fixture.catalog.get::<ShareLink>(&[&share.slug]).await.err()),
    ] {
        assert!(matches!(left, Some(CatalogError::NotFound { .. })), "{kind}: {left:?}");
    }
    fixture.catalog.delete::<Program>(&["spring"], false).await.unwrap();
    fixture.catalog.delete::<Link>(&["haircare"], false).await.unwrap();
    let gone = fixture.catalog.delete::<Link>(&["haircare"], false).await;
    assert!(matches!(gone, Err(CatalogError::NotFound { .. })), "{gone:?}");
}

#[tokio::test]
async fn a_program_is_not_taken_for_one_with_a_similar_code() {
    let fixture = Fixture::new(BACKEND).await;
    for code in ["a_b", "axb"] {
        fixture.put::<Program>(json!({ "code": code })).await;
    }
    fixture.put::<Partner>(json!({"code": "p", "programs": ["axb"]})).await;
    fixture.catalog.delete::<Program>(&["a_b"], false).await.unwrap();
}

#[tokio::test]
async fn the_same_share_link_comes_again() {
    let fixture = Fixture::spring(BACKEND).await;
    let (first, created) = fixture.share(json!({"link": "haircare", "partner": "abc123"})).await;
    assert!(created && first.slug.len() == 8, "{first:?}");
    assert_eq!(fixture.share(json!({"link": "haircare", "partner": "ABC123"})).await, (first.clone(), false));
    let (with_ad, created) = fixture.share(json!({"link": "haircare", "partner": "abc123", "ad": "website2"})).await;
    assert!(created && with_ad.slug != first.slug);
    let (named, created) = fixture.share(json!({"slug": "Hair", "link": "haircare", "partner": "abc123"})).await;
    assert!(created && named.slug.as_str() == "hair");
    assert!(!fixture.share(json!({"slug": "hair", "link": "haircare", "partner": "abc123"})).await.1);
    let other = read_json(json!({"slug": "hair", "link": "haircare", "partner": "abc123", "ad": "website2"})).unwrap();
    assert!(matches!(fixture.catalog.share(other).await, Err(CatalogError::Taken { .. })));
}

#[tokio::test]
async fn lists_come_in_pages_and_can_be_searched() {
    let fixture = Fixture::new(BACKEND).await;
    for n in 0..25 {
        let name = if n % 10 == 3 { "50%_off" } else { "other" };
        fixture.put::<Link>(json!({"code": format!("l{n:02}"), "name": name, "address": "https://a.example"})).await;
    }
    let mut query = ListQuery { limit: Some(10), ..ListQuery::default() };
    let (mut codes, mut pages) = (Vec::new(), 0);
    loop {
        let page = fixture.catalog.list::<Link>(&query).await.unwrap();
        codes.extend(page.items.into_iter().map(|link| link.code.to_string()));
        pages += 1;
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    assert_eq!((pages, codes), (3, (0..25).map(|n| format!("l{n:02}")).collect::<Vec<_>>()));
    for (search, expected) in [("50%_OFF", 3), ("%", 3), ("5__o", 0), ("ä", 0), ("L0", 10), ("a.example", 25)] {
        let query = ListQuery { search: Some(search.to_owned()), ..ListQuery::default() };
        assert_eq!(fixture.catalog.list::<Link>(&query).await.unwrap().items.len(), expected, "{search}");
    }
    let query = ListQuery { cursor: Some("!".to_owned()), ..ListQuery::default() };
    assert!(matches!(fixture.catalog.list::<Link>(&query).await, Err(CatalogError::Invalid(_))));
}

/// The order of bytes, whatever the database thinks of hyphens and letters; pages of one row each lose nothing.
#[tokio::test]
async fn lists_are_in_the_order_of_bytes() {
    let fixture = Fixture::new(BACKEND).await;
    let mut codes = ["a-b", "a.b", "a_b", "ab", "a1", "1a", "b", "aa", "a-", "z-9", "z_1", "z0"];
    for code in codes {
        fixture.put::<Partner>(json!({ "code": code })).await;
        fixture.put::<Ad>(json!({ "partner": code, "code": code })).await;
    }
    codes.sort_unstable();
    let mut query = ListQuery { limit: Some(1), ..ListQuery::default() };
    let mut ads = Vec::new();
    loop {
        let page = fixture.catalog.list::<Ad>(&query).await.unwrap();
        ads.extend(page.items.into_iter().map(|ad| ad.code.to_string()));
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    assert_eq!(ads, codes);
    let all = fixture.catalog.list::<Partner>(&ListQuery::default()).await.unwrap();
    assert_eq!(all.items.iter().map(|partner| partner.code.as_str()).collect::<Vec<_>>(), codes);
}

#[tokio::test]
async fn no_text_has_a_nul() {
    let fixture = Fixture::new(BACKEND).await;
    fixture.put::<Link>(json!({"code": "a", "address": "https://a.example"})).await;
    for query in [
        ListQuery { search: Some("a\0".to_owned()), ..ListQuery::default() },
        ListQuery { only: vec![("code", "a\0".to_owned())], ..ListQuery::default() },
    ] {
        assert!(fixture.catalog.list::<Link>(&query).await.unwrap().items.is_empty(), "{query:?}");
    }
    let cursor = Some(data_encoding::BASE64URL_NOPAD.encode(b"a\0"));
    let refused = fixture.catalog.list::<Link>(&ListQuery { cursor, ..ListQuery::default() }).await;
    assert!(matches!(refused, Err(CatalogError::Invalid(_))), "{refused:?}");
}

#[tokio::test]
async fn two_processes_may_make_the_same_catalog() {
    let fixture = Fixture::nowhere(BACKEND).await;
    let open = || fixture.open(true);
    let (one, two, three) = tokio::join!(open(), open(), open());
    let position = one.unwrap().position().await.unwrap();
    assert_eq!(two.unwrap().position().await.unwrap(), position);
    assert_eq!(three.unwrap().position().await.unwrap(), position);
}

/// As during an import: the write ends with a clear answer, reading goes on.
#[tokio::test]
async fn a_catalog_that_somebody_else_writes_is_busy() {
    let fixture = Fixture::spring(BACKEND).await;
    let other = fixture.open(false).await.unwrap();
    let bulk = Bulk::<Program, ()>::begin(&other).await.unwrap();
    let busy = fixture.try_put::<Program>(json!({"code": "second"})).await.unwrap_err();
    assert!(matches!(busy, CatalogError::Busy), "{busy}");
    fixture.catalog.get::<Program>(&["spring"]).await.unwrap();
    bulk.rollback().await.unwrap();
    fixture.put::<Program>(json!({"code": "second"})).await;
}

#[tokio::test]
async fn the_admin_token_is_made_once_and_stored_as_a_hash() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new(BACKEND).await;
    let file = fixture.folder.path().join("admin-token");
    assert!(!fixture.catalog.is_admin_token("").await.unwrap());
    assert_eq!(fixture.catalog.ensure_admin_token(&file).await.unwrap(), TokenState::Made);
    let token = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    assert!(token.starts_with("fp_") && token.len() == 3 + 43, "{token}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(fixture.catalog.ensure_admin_token(&file).await.unwrap(), TokenState::Kept);
    assert!(!file.exists());
    assert!(fixture.catalog.is_admin_token(&token).await.unwrap());
    assert!(!fixture.catalog.is_admin_token(&token[..45]).await.unwrap());
    let stored = fixture.catalog.rows(sqlx::query("SELECT value FROM meta")).await.unwrap();
    let stored: Vec<String> = stored.iter().map(|row| sqlx::Row::get(row, 0)).collect();
    assert!(stored.len() == 1 && !stored[0].contains(&token[3..]), "the token itself is not in the database");
}

/// Two machines that begin with the same catalog: only the token that counts is in a file.
#[tokio::test]
async fn of_two_machines_one_makes_the_admin_token() {
    let fixture = Fixture::new(BACKEND).await;
    let other = fixture.open(false).await.unwrap();
    let files = [fixture.folder.path().join("one"), fixture.folder.path().join("two")];
    let (one, two) = tokio::join!(fixture.catalog.ensure_admin_token(&files[0]), other.ensure_admin_token(&files[1]));
    let made: Vec<bool> = [one, two].into_iter().map(|state| state.unwrap() == TokenState::Made).collect();
    assert!(made[0] != made[1], "{made:?}");
    for (file, made) in files.iter().zip(made) {
        assert_eq!(file.exists(), made);
        if made {
            let token = std::fs::read_to_string(file).unwrap();
            assert!(other.is_admin_token(token.trim()).await.unwrap());
        }
    }
}
