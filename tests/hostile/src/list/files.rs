//! Lists attacks that do harm as a file, before they ever run.

use super::of;
use crate::attack::Attack;

/// Some keep the compiler busy for as long as they may, and fifty of those would take an hour.
const SOME: usize = 4;

pub(super) fn attacks() -> Vec<Attack> {
    let (quarantined, either) = (Attack::quarantined, Attack::either);
    vec![
        quarantined(of!(placed import_ungranted), "does not grant"),
        quarantined(of!(text "import_unknown"), "evil:host/shell"),
        quarantined(of!(text "import_twisted"), ""),
        quarantined(of!(made import_flood), "evil:host"),
        quarantined(of!(made export_words), "exports neither"),
        quarantined(of!(made malformed), ""),
        quarantined(of!(placed size_huge), "larger than"),
        quarantined(of!(placed endless_file), "not a file"),
        quarantined(of!(placed pipe), "not a file"),
        quarantined(of!(placed manifest_huge), "larger than"),
        quarantined(of!(placed manifest_words), "manifest"),
        quarantined(of!(placed name_thief), "has a task"),
        either(of!(made functions_many), &["succeeded"]).most_at_once(SOME),
        either(of!(made function_wide), &["succeeded"]).most_at_once(SOME),
        either(of!(made blocks_deep), &["succeeded"]).most_at_once(SOME),
        quarantined(of!(made components_deep), "").most_at_once(SOME),
        Attack::runs(of!(made names_long), &["trapped"]).hung_in("function 2\n"),
        Attack::runs(of!(made debug_bomb), &["trapped"]),
    ]
}
