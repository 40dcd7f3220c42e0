//! What a guest may use: one file per WIT interface. Each checks what the guest sends before anything else.

pub mod cache;
pub mod locks;
