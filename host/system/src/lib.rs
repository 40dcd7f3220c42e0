//! Provides clocks, loops and threads that are started again after a panic, safe ways to open files that others may have
//! put in place, and guests' text for terminals, for all parts of a host.

pub mod clock;
pub mod harmless;
pub mod private;
pub mod regular_file;
pub mod supervisor;
