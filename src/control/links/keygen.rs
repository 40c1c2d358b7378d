//! `strowger link keygen`: one private authority and a certificate for each site, in one command.
//!
//! Owned by the links. The authority's name is the same everywhere; its key is what makes it another one (RFC 5280
//! §4.2.1.1), so that a later run in the same folder signs for further sites with nothing but the key.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use super::tls::subject;

/// The authority's certificate: every site has it.
pub const CA_FILE: &str = "ca.pem";
/// Its key: whoever has it can make sites.
pub const CA_KEY_FILE: &str = "ca.key";
/// How long certificates are good for.
const LIFETIME: Duration = Duration::days(3_650);
/// For hosts whose calendar is a little behind.
const EARLY: Duration = Duration::days(1);

/// What was made.
#[derive(Debug, PartialEq, Eq)]
pub struct Made {
    /// The authority is new; otherwise the one in the folder has signed.
    pub authority: bool,
    /// Certificate and key of each site, in the order of the names.
    pub sites: Vec<(String, PathBuf, PathBuf)>,
}

/// Makes certificates for `names` in `dir`, and the authority unless it is there. Nothing is ever overwritten, and with
/// an error nothing is made.
///
/// # Errors
/// A sentence that says what to do.
pub fn keygen(dir: &Path, names: &[String]) -> Result<Made, String> {
    for (at, name) in names.iter().enumerate() {
        subject(name)?;
        if name == "ca" || name.contains('/') || name.starts_with('.') {
            return Err(format!("a site cannot be called \"{name}\" here: its files would be in the way of others"));
        }
        if names[..at].contains(name) {
            return Err(format!("\"{name}\" stands twice"));
        }
    }
    let sites: Vec<_> = names
        .iter()
        .map(|name| (name.clone(), dir.join(format!("{name}.pem")), dir.join(format!("{name}.key"))))
        .collect();
    if let Some(there) = sites.iter().flat_map(|(_, certificate, key)| [certificate, key]).find(|file| file.exists()) {
        return Err(format!(
            "{} is there already and is not overwritten: move it away, or use another --out",
            there.display()
        ));
    }
    let (ca, ca_key) = (dir.join(CA_FILE), dir.join(CA_KEY_FILE));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    let authority = !ca.exists();
    let key = if authority { new_authority(&ca, &ca_key)? } else { known_authority(&ca, &ca_key)? };
    let issuer = Issuer::new(authority_params(), key);
    let mut signed = Vec::with_capacity(names.len());
    for name in names {
        let key = KeyPair::generate().map_err(|error| no_key(&error))?;
        let params = site_params(name).map_err(|error| format!("no certificate for \"{name}\": {error}"))?;
        let certificate = params.signed_by(&key, &issuer).map_err(|error| no_key(&error))?;
        signed.push((certificate.pem(), key.serialize_pem()));
    }
    for ((_, certificate_file, key_file), (certificate, key)) in sites.iter().zip(&signed) {
        write(key_file, key, 0o600)?;
        write(certificate_file, certificate, 0o644)?;
    }
    Ok(Made { authority, sites })
}

fn new_authority(ca: &Path, ca_key: &Path) -> Result<KeyPair, String> {
    if ca_key.exists() {
        return Err(format!("{} has no certificate beside it: move it away", ca_key.display()));
    }
    let key = KeyPair::generate().map_err(|error| no_key(&error))?;
    let certificate = authority_params().self_signed(&key).map_err(|error| no_key(&error))?;
    write(ca_key, &key.serialize_pem(), 0o600)?;
    write(ca, &certificate.pem(), 0o644)?;
    Ok(key)
}

fn known_authority(ca: &Path, ca_key: &Path) -> Result<KeyPair, String> {
    let text = fs::read_to_string(ca_key).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!(
            "{} is there without its key {}: bring the key back to sign for further sites, or use another --out for a new authority",
            ca.display(),
            ca_key.display()
        ),
        _ => format!("cannot read {}: {error}", ca_key.display()),
    })?;
    KeyPair::from_pem(&text).map_err(|error| format!("{} is not a usable key: {error}", ca_key.display()))
}

fn no_key(error: &rcgen::Error) -> String {
    format!("no key could be made: {error}")
}

fn authority_params() -> CertificateParams {
    let mut params = named("Strowger links");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn site_params(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = named(name);
    params.subject_alt_names = CertificateParams::new([name.to_owned()])?.subject_alt_names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn named(name: &str) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (now - EARLY, now + LIFETIME);
    params
}

fn write(file: &Path, text: &str, mode: u32) -> Result<(), String> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(file);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|error| format!("cannot write {}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::super::tls;
    use super::*;
    use crate::config::Link;
    use std::os::unix::fs::PermissionsExt;

    fn link(dir: &Path, name: &str) -> Link {
        Link {
            listen: ([127, 0, 0, 1], 0).into(),
            certificate_file: dir.join(format!("{name}.pem")),
            key_file: dir.join(format!("{name}.key")),
            ca_file: dir.join(CA_FILE),
            peers: Vec::new(),
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn one_command_makes_what_sites_need_and_a_later_one_adds_a_site() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("keys");
        let made = keygen(&dir, &names(&["phx-1", "lon-1"])).unwrap();
        assert!(made.authority && made.sites.len() == 2);
        let before = fs::read(dir.join(CA_FILE)).unwrap();
        assert!(!keygen(&dir, &names(&["syd-1"])).unwrap().authority);
        assert_eq!(fs::read(dir.join(CA_FILE)).unwrap(), before);
        for name in ["phx-1", "lon-1", "syd-1"] {
            tls::load(&link(&dir, name), name).unwrap();
            assert_eq!(tls::inspect(&link(&dir, name), name), Ok(None));
            let mode = fs::metadata(dir.join(format!("{name}.key"))).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let wrong = tls::load(&link(&dir, "lon-1"), "phx-1").unwrap_err();
        assert!(wrong.contains("is not the certificate of \"phx-1\""), "{wrong}");
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        keygen(dir, &names(&["a"])).unwrap();
        let before = fs::read(dir.join("a.key")).unwrap();
        let said = keygen(dir, &names(&["b", "a"])).unwrap_err();
        assert!(said.contains("a.pem is there already") && !dir.join("b.pem").exists(), "{said}");
        assert_eq!(fs::read(dir.join("a.key")).unwrap(), before);
        fs::remove_file(dir.join(CA_KEY_FILE)).unwrap();
        assert!(keygen(dir, &names(&["c"])).unwrap_err().contains("bring the key back"));
    }

    #[test]
    fn odd_names_and_foreign_files_are_said() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["", "a b", "ca", "../x"] {
            assert!(keygen(dir.path(), &names(&[name])).is_err(), "{name}");
        }
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        keygen(&one, &names(&["a"])).unwrap();
        keygen(&two, &names(&["a"])).unwrap();
        let mixed = Link { ca_file: two.join(CA_FILE), ..link(&one, "a") };
        assert!(tls::load(&mixed, "a").unwrap_err().contains("would be refused by the peers"));
        let swapped = Link { key_file: two.join("a.key"), ..link(&one, "a") };
        assert!(tls::load(&swapped, "a").unwrap_err().contains("a.key"));
        let missing = Link { key_file: one.join("b.key"), ..link(&one, "a") };
        assert!(tls::load(&missing, "a").unwrap_err().contains("`link.key_file` names it"));
    }
}
