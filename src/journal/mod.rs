//! tmp
#[derive(Debug)]
pub struct Lane;
#[derive(Debug)]
pub struct Ticket;
#[derive(Debug)]
pub struct AppendError;
impl Lane {
    pub fn append(&self, _: &crate::core::event::EventRef<'_>) -> Result<Ticket, AppendError> {
        Ok(Ticket)
    }
    pub async fn committed(&self, _: Ticket) -> Result<(), AppendError> {
        Ok(())
    }
    pub fn shed(&self, _: crate::core::time::Millis) {}
}
