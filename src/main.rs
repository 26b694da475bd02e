//! The program: parses the command line, runs one command, prints its error if it has one, and exits with its status.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
