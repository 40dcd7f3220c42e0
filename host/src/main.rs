//! The one binary: everything else is in the library.

fn main() -> std::process::ExitCode {
    sexton::cli::main()
}
