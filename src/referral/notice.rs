//! A reward that is due is told by mail, once, in the transaction that made it due; one that was issued by itself has its row
//! in the audit log there too.
//!
//! What is computed goes through states on its way: a reward may be due for a moment, until the rule's ledger withholds it. So
//! mails are written at the end, of what is due then.

use crate::{
    catalog::{
        CatalogError, Partner, Program,
        audit::{Caller, Change, Deed},
        mails::NewMail,
        record::{Recording, RewardRow},
    },
    core::terms::{Owed, RewardState, Side},
};

/// Tells what became due, and stayed so.
pub(super) async fn settle(record: &mut Recording) -> Result<(), CatalogError> {
    for id in record.take_due() {
        let Some(row) = record.reward_by_id(id).await? else { continue };
        if row.state == RewardState::Issued {
            // Nobody's hand: the rule says so.
            let changes = vec![Change::new("state", "held", "issued"), Change::new("rule", "", row.rule.to_string())];
            let deed = Deed::new("issue", "reward", row.id.to_string()).with(changes);
            record.audit(Some(Caller::system("auto-issue")), deed);
        }
        if matches!(row.state, RewardState::Due | RewardState::Issued) {
            mail(record, &row).await?;
        }
    }
    Ok(())
}

/// The row of the audit log for a reward that somebody issued.
pub(super) fn issued(before: &RewardRow, row: &RewardRow) -> Deed {
    let changes = vec![
        Change::new("state", before.state.word(), row.state.word()),
        Change::new("reference", before.reference.clone(), row.reference.clone()),
    ];
    Deed::new("issue", "reward", row.id.to_string()).with(changes)
}

async fn mail(record: &mut Recording, row: &RewardRow) -> Result<(), CatalogError> {
    let Some(program) = record.program(&row.program).await? else { return Ok(()) };
    let notify = &program.notify;
    if notify.addresses.is_empty() && !notify.partner {
        return Ok(());
    }
    let partner = record.item::<Partner>(&row.partner).await?;
    let recipients = recipients(&program, partner.as_ref(), row.side);
    if recipients.is_empty() || !record.notice(row).await? {
        return Ok(());
    }
    let (subject, text) = notify.words(|name| value(name, row, &program, partner.as_ref()));
    for recipient in recipients {
        record.mail(&NewMail { recipient, subject: subject.clone(), text: text.clone(), html: None }).await?;
    }
    Ok(())
}

/// The program's addresses, and the partner's where it is theirs. An address that is both gets one mail.
fn recipients(program: &Program, partner: Option<&Partner>, side: Side) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let partner = partner.filter(|_| program.notify.partner && side == Side::Partner);
    let own = partner.and_then(|partner| partner.email.as_ref());
    for address in program.notify.addresses.iter().chain(own) {
        if !all.iter().any(|known| known.eq_ignore_ascii_case(address)) {
            all.push(address.clone());
        }
    }
    all
}

fn value(name: &str, row: &RewardRow, program: &Program, partner: Option<&Partner>) -> Option<String> {
    let named = |name: &str, code: &str| if name.is_empty() { code.to_owned() } else { name.to_owned() };
    Some(match name {
        "amount" => match &row.owed {
            Owed::Money(money) => money.to_string(),
            Owed::Gift(gift) => gift.clone(),
        },
        "partner" => row.partner.to_string(),
        "partner_name" => named(partner.map_or("", |partner| &partner.name), &row.partner),
        "program" => row.program.to_string(),
        "program_name" => named(&program.name, &row.program),
        "reward" => row.id.to_string(),
        "rule" => row.rule.to_string(),
        "side" => row.side.word().to_owned(),
        "state" => row.state.word().to_owned(),
        _ => return None,
    })
}
