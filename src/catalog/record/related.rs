//! What people have in common: e-mail addresses, payments, browsers, networks. Review looks at it; what it means is not said here.
//!
//! One statement finds what a person has in common with others, because it is asked with every fact; a second one what follows from
//! who has the credit. What they give may be more than what was
//! asked about, never less: whoever judges looks again.

use sqlx::{Row, any::AnyRow};

use super::{
    super::{
        CatalogError,
        trip::{Statement, statement},
    },
    Recording,
    contact::{ContactId, id},
};
use crate::core::{code::Code, fact::Place, limits::BURST_LOOK_ROWS, mail, time::Millis};

/// A lead in the program that is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelatedLead {
    pub contact: ContactId,
    pub place: Place,
    /// The partner it is credited to and the network it came from, where it has both and that matters.
    pub source: Option<(Code, String)>,
}

/// What the event store said of a partner's clicks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartnerClicks {
    pub partner: Code,
    /// Percent of bots.
    pub bots: u32,
    /// Percent of the partner's own.
    pub own: u32,
}

/// What people have in common. A line says that this contact has this one.
#[derive(Clone, Debug, Default)]
pub struct Related {
    /// Addresses as [`mail::normal`] has them.
    pub mails: Vec<(ContactId, String)>,
    pub payments: Vec<(ContactId, String)>,
    pub visitors: Vec<(ContactId, String)>,
    pub leads: Vec<RelatedLead>,
    /// Partners' own addresses, normal.
    pub partners: Vec<(Code, String)>,
    pub clicks: Vec<PartnerClicks>,
}

/// Around which leads others are looked for: partner, network, time.
pub type Near = (Code, String, Millis);

/// What a contact has in common with others, whatever the program: `$1` is the contact.
const COMMON: &str = "SELECT 'mail', o.contact, o.normal, '', CAST(0 AS BIGINT) FROM contact_keys AS k \
     JOIN contact_keys AS o ON o.normal = k.normal WHERE k.contact = $1 \
     UNION ALL SELECT DISTINCT 'payment', o.contact, o.payment, '', 0 FROM conversions AS k \
     JOIN conversions AS o ON o.payment = k.payment WHERE k.contact = $1 AND o.contact IS NOT NULL \
     UNION ALL SELECT 'visitor', o.contact, o.visitor, '', 0 FROM contact_visitors AS k \
     JOIN contact_visitors AS o ON o.visitor = k.visitor WHERE k.contact = $1 \
     UNION ALL SELECT 'lead', l.contact, l.program, l.id, l.at_ms FROM leads AS l WHERE l.contact IN \
     (SELECT o.contact FROM contact_keys AS k JOIN contact_keys AS o ON o.normal = k.normal WHERE k.contact = $1 \
     UNION SELECT o.contact FROM conversions AS k JOIN conversions AS o ON o.payment = k.payment WHERE k.contact = $1)";

pub(super) fn common(contact: ContactId) -> Statement {
    statement(COMMON).bind(contact.to_string())
}

const PARTNER: &str = "SELECT p.code, p.email, c.bots, c.own FROM partners AS p LEFT JOIN partner_clicks AS c \
                       ON c.partner = p.code WHERE p.code = $1";
/// The same of who has the credit for a contact's referrals.
const PARTNERS_OF: &str = "SELECT p.code, p.email, c.bots, c.own FROM referrals AS f JOIN partners AS p ON p.code = f.partner \
                           LEFT JOIN partner_clicks AS c ON c.partner = p.code WHERE f.contact = $1";

pub(super) fn partner(partner: &Code) -> Statement {
    statement(PARTNER).bind(partner.to_string())
}

pub(super) fn partners_of(contact: ContactId) -> Statement {
    statement(PARTNERS_OF).bind(contact.to_string())
}

/// `$1` is the partner's own address; behind it, for leads, `$2` is the program.
const OWN: &str = "SELECT 'mail', contact, normal, '', CAST(0 AS BIGINT) FROM contact_keys WHERE normal = $1";

/// Leads of the same partner and network, on one side of a place: the nearest ones.
fn near_sql(at: usize, operator: &str, order: &str) -> String {
    let first = 3 + 5 * at;
    let [network, credited, place, from, until] = [0, 1, 2, 3, 4].map(|n| first + n);
    format!(
        " UNION ALL SELECT * FROM (SELECT 'near', n.contact, '{at}', n.id, n.at_ms FROM leads AS n WHERE n.program = $2 \
         AND n.network = ${network} AND n.at_ms {operator} ${place} AND n.at_ms >= ${from} AND n.at_ms <= ${until} \
         AND substr(n.credited, 1, length(CAST(${credited} AS TEXT))) = ${credited} \
         ORDER BY n.at_ms {order} LIMIT {BURST_LOOK_ROWS}) AS side_{at}_{order}"
    )
}

impl Recording {
    /// What a contact has in common with others, in a program where a partner has the credit, or nobody; and which leads of the same source came
    /// at most `reach_ms` before or after those of `near`.
    pub async fn related(
        &mut self,
        contact: ContactId,
        program: &Code,
        partner: Option<&Code>,
        near: &[Near],
        reach_ms: i64,
    ) -> Result<Related, CatalogError> {
        let mut related = match partner {
            Some(partner) => self.partner_facts(partner, Some(contact)).await?,
            None => Related::default(),
        };
        let own = related.partners.first().map(|(_, mail)| mail.clone());
        for row in common(contact).rows(&mut self.writing).await?.iter() {
            related.add(row, program, near)?;
        }
        if own.is_none() && near.is_empty() {
            return Ok(related);
        }
        let sides = |at| [near_sql(at, ">=", "ASC"), near_sql(at, "<", "DESC")].concat();
        let sql: String = std::iter::once(OWN.to_owned()).chain((0..near.len()).map(sides)).collect();
        let mut query = statement(sql).bind(own.unwrap_or_default());
        if !near.is_empty() {
            query = query.bind(program.to_string());
        }
        for (partner, network, at) in near {
            // As `leads.credited` begins.
            let credited = format!("{{\"partner\":\"{partner}\",");
            query = query
                .bind(network.clone())
                .bind(credited)
                .bind(at.0)
                .bind(at.plus(-reach_ms).0)
                .bind(at.plus(reach_ms).0);
        }
        for row in query.rows(&mut self.writing).await?.iter() {
            related.add(row, program, near)?;
        }
        Ok(related)
    }

    /// What is known of a partner: perhaps with the person whose referral is theirs.
    async fn partner_facts(&mut self, wanted: &Code, contact: Option<ContactId>) -> Result<Related, CatalogError> {
        let mut related = Related::default();
        if let Some(contact) = contact {
            for row in partners_of(contact).rows(&mut self.writing).await?.iter() {
                if row.try_get::<&str, _>(0)? == wanted.as_str() {
                    related.add_partner(row)?;
                    return Ok(related);
                }
            }
        }
        if let Some(row) = partner(wanted).first(&mut self.writing).await? {
            related.add_partner(&row)?;
        }
        Ok(related)
    }

    /// A partner's own address, as it is compared.
    pub async fn mail_of_partner(&mut self, partner: &Code) -> Result<Option<String>, CatalogError> {
        Ok(self.partner_facts(partner, None).await?.partners.pop().map(|(_, mail)| mail))
    }

    /// What the event store said of partners' clicks takes the place of what it said before. Whoever they brought is looked at
    /// again in the background.
    pub async fn put_partner_clicks(&mut self, clicks: &PartnerClicks) -> Result<(), CatalogError> {
        sqlx::query(
            "INSERT INTO partner_clicks (partner, bots, own, at_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (partner) \
             DO UPDATE SET bots = excluded.bots, own = excluded.own, at_ms = excluded.at_ms",
        )
        .bind(clicks.partner.to_string())
        .bind(i64::from(clicks.bots))
        .bind(i64::from(clicks.own))
        .bind(self.now().0)
        .execute(self.writing.tx().await?)
        .await?;
        sqlx::query(
            "INSERT INTO follow_due (contact) SELECT DISTINCT contact FROM referrals WHERE partner = $1 \
             ON CONFLICT (contact) DO NOTHING",
        )
        .bind(clicks.partner.to_string())
        .execute(self.writing.tx().await?)
        .await?;
        Ok(())
    }
}

impl Related {
    /// Leads in other programs are none here.
    fn add(&mut self, row: &AnyRow, program: &Code, near: &[Near]) -> Result<(), CatalogError> {
        let (what, contact, value): (&str, ContactId, String) = (row.try_get(0)?, id(row, 1)?, row.try_get(2)?);
        match what {
            "mail" => self.mails.push((contact, value)),
            "payment" => self.payments.push((contact, value)),
            "visitor" => self.visitors.push((contact, value)),
            "lead" if value != program.as_str() => {}
            _ => {
                let place = Place { id: id(row, 3)?, at: Millis(row.try_get(4)?) };
                let source =
                    (what == "near").then(|| value.parse::<usize>().ok().and_then(|at| near.get(at))).flatten();
                let source = source.map(|(partner, network, _)| (partner.clone(), network.clone()));
                self.leads.push(RelatedLead { contact, place, source });
            }
        }
        Ok(())
    }

    /// Code, address, percent of bots and of the partner's own clicks.
    pub(super) fn add_partner(&mut self, row: &AnyRow) -> Result<(), CatalogError> {
        let partner = super::fact::code(row.try_get(0)?)?;
        let (email, bots, own): (Option<&str>, Option<i64>, Option<i64>) =
            (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        if let (Some(bots), Some(own)) = (bots, own) {
            let percent = |share: i64| u32::try_from(share).unwrap_or(0);
            self.clicks.push(PartnerClicks { partner: partner.clone(), bots: percent(bots), own: percent(own) });
        }
        if let Some(email) = email {
            self.partners.push((partner, mail::normal(email)));
        }
        Ok(())
    }
}
