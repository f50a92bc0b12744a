//! Rewards that were told by mail: each once, however often it becomes due.

use super::{super::CatalogError, Recording, followed::RewardRow};
use crate::core::fact::FactId;

impl Recording {
    /// A reward has become due. Whether it stays so, the end of the reckoning says.
    pub fn mark_due(&mut self, reward: FactId) {
        if !self.due.contains(&reward) {
            self.due.push(reward);
        }
    }

    /// Those that were marked since the last call.
    pub fn take_due(&mut self) -> Vec<FactId> {
        std::mem::take(&mut self.due)
    }

    /// Notes that this reward is told now. `false`: it was told before.
    pub async fn notice(&mut self, reward: &RewardRow) -> Result<bool, CatalogError> {
        let noted = sqlx::query(
            "INSERT INTO reward_notices (referral, rule, side, cause, level, at_ms) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (referral, rule, side, cause, level) DO NOTHING",
        )
        .bind(reward.referral.to_string())
        .bind(reward.rule.to_string())
        .bind(reward.side.word())
        .bind(reward.cause.to_string())
        .bind(i32::from(reward.level))
        .bind(self.now().0)
        .execute(self.writing.tx().await?)
        .await?;
        Ok(noted.rows_affected() > 0)
    }
}
