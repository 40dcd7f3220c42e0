//! Reads the routes of a manifest: which types of added schedules its tasks take.

use toml::Spanned;

use super::wrong::Wrong;
use sexton_domain::task::{Name, Pattern, Task};

/// Gives a task of the manifest the types that lead to it.
pub(super) fn route(drafts: &mut [Task], types: Spanned<String>, task: Spanned<Name>) -> Result<(), Wrong> {
    let pattern = types.get_ref();
    let begins = pattern.strip_suffix('*');
    let is_pattern = begins == Some("") || Name::new(begins.unwrap_or(pattern)).is_ok();
    if !is_pattern {
        let shown: String = pattern.chars().take(80).collect();
        let what = format!(
            "`routes`: \"{shown}\" is not a pattern of types; write a type of a-z, 0-9, `-`, `_` and `.`, or its beginning \
             with one `*` at the end"
        );
        return Err((types.span(), what));
    }
    let name = task.get_ref();
    let Some(draft) = drafts.iter_mut().find(|draft| draft.key.task == *name) else {
        return Err((task.span(), format!("`routes`: this manifest has no task `{name}`; name one that it has")));
    };
    draft.types.push(Pattern(types.into_inner()));
    Ok(())
}
