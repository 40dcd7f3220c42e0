//! How a page of ten remote systems stays current although some hang.
