//! Start-up only: the command line does the rest.

use std::process::ExitCode;

fn main() -> ExitCode {
    strowger::cli::main()
}
