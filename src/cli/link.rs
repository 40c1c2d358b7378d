//! `strowger link keygen`: makes certificates and says what goes where.

use std::path::Path;

use super::fault::Fault;
use crate::control::links::keygen::{self, CA_FILE, CA_KEY_FILE, Made};

/// Makes certificates for the sites.
///
/// # Errors
/// What is in the way.
pub fn keygen(out: &Path, names: &[String]) -> Result<(), Fault> {
    let made = keygen::keygen(out, names).map_err(Fault::runtime)?;
    print!("{}", told(out, &made));
    Ok(())
}

fn told(out: &Path, made: &Made) -> String {
    let (ca, ca_key) = (out.join(CA_FILE), out.join(CA_KEY_FILE));
    let (ca, ca_key) = (ca.display(), ca_key.display());
    let mut text = if made.authority {
        format!("made the authority {ca} with its key {ca_key}\n")
    } else {
        format!("the authority {ca} has signed\n")
    };
    text.push_str("copy to each site, and name there in [link]:\n");
    for (name, certificate, key) in &made.sites {
        text.push_str(&format!(
            "  {name}\n    certificate_file  {}\n    key_file          {}   (mode 0600, of the user it runs as)\n    ca_file           {ca}\n",
            certificate.display(),
            key.display()
        ));
    }
    text.push_str(&format!(
        "then delete the keys of the sites here, and keep {ca_key} offline: who has it can pose as any site\n"
    ));
    text
}
