//! Drains hosts of the store, and lets them take runs again.

use tracing::info;

use super::{OpError, Ops, Principal, Result};

impl Ops {
    /// Sets whether the host `name` drains: whether it finishes its runs and takes no more.
    ///
    /// # Errors
    ///
    /// [`OpError::NoHost`]; the store's errors.
    pub async fn set_draining(&self, by: &Principal, name: &str, draining: bool) -> Result<()> {
        // The name comes from outside, and a store may refuse texts that are no names of hosts.
        let is_known = self.store.hosts().await?.iter().any(|info| info.host.name == name);
        if !is_known || !self.store.set_draining(name, draining).await? {
            return Err(OpError::NoHost(name.to_owned()));
        }
        // Another host learns it with its next announcement.
        if name == self.host {
            self.duty.ask();
        }
        let what = if draining { "drain" } else { "take runs again" };
        info!(host.name = %name, draining, principal = %by, "Asked host `{name}` to {what}");
        Ok(())
    }
}
