//! Fails, logs and prints in escape sequences and line breaks: the command line must show them harmlessly, and the log must keep one line for each.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let words = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}txt\r\n{\"level\":\"error\",\"message\":\"forged\"}\0";
    log::info!("{words}");
    println!("{words}");
    Err(Failure::permanent(words))
}
