//! Starts the one binary; everything else is in the library.

fn main() -> std::process::ExitCode {
    // This comes first: there is one process for each component that is compiled, and it needs nothing else.
    sexton_runtime::runtime::compile_if_asked().unwrap_or_else(sexton::cli::main)
}
