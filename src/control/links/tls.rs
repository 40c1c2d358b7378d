//! Who may be at the other end of a link: TLS 1.3 with certificates of one private authority on both sides (RFC 9001).
//!
//! Owned by the links. The authority says that a certificate belongs to a site, its subject's alternative name says to
//! which one: both are checked in both directions. Nothing is resumed, so that each connection shows its certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{RootCertStore, version::TLS13};

use crate::config::Link;

/// What both ends must offer (RFC 7301): anything else on the port is no link.
const PROTOCOL: &[u8] = b"strowger-link";
/// A connection that is silent for this long is gone. Each side says something every second.
pub const SILENCE_MAX: Duration = Duration::from_secs(4);
/// Longest notice before a certificate ends.
const NOTICE: Duration = Duration::from_secs(30 * 86_400);

/// What the endpoint needs to dial and to answer.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// For the peers that dial.
    pub server: ServerConfig,
    /// For the peers that we dial.
    pub client: ClientConfig,
}

/// The files of `[link]`, read.
struct Files {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

/// A site's name as certificates carry it.
///
/// # Errors
/// It cannot stand in a certificate.
pub fn subject(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned()).map_err(|_| {
        format!("the name \"{name}\" cannot stand in a certificate: use letters, digits and `-`, as a host name does")
    })
}

/// True when the certificate carries the name.
#[must_use]
pub fn carries(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let parsed = ParsedCertificate::try_from(certificate);
    matches!((parsed, subject(name)), (Ok(parsed), Ok(name)) if verify_server_name(&parsed, &name).is_ok())
}

/// Reads the files of `[link]` and makes both halves of TLS from them.
///
/// # Errors
/// A sentence that names the setting, and says what to do.
pub fn load(link: &Link, node: &str) -> Result<Credentials, String> {
    let files = Files::read(link)?;
    files.check(link, node, UnixTime::now())?;
    let unusable = |error: rustls::Error| format!("{}: {error}", link.key_file.display());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&files.roots), Arc::clone(&files.provider))
        .build()
        .map_err(|error| format!("{} is not usable (`link.ca_file`): {error}", link.ca_file.display()))?;
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&files.provider));
    let mut server = builder
        .with_protocol_versions(&[&TLS13])
        .and_then(|builder| {
            let builder = builder.with_client_cert_verifier(verifier);
            builder.with_single_cert(files.chain.clone(), files.key.clone_key())
        })
        .map_err(unusable)?;
    server.alpn_protocols = vec![PROTOCOL.to_vec()];
    server.send_tls13_tickets = 0;
    let builder = rustls::ClientConfig::builder_with_provider(files.provider);
    let mut client = builder
        .with_protocol_versions(&[&TLS13])
        .and_then(|builder| builder.with_root_certificates(files.roots).with_client_auth_cert(files.chain, files.key))
        .map_err(unusable)?;
    client.alpn_protocols = vec![PROTOCOL.to_vec()];
    client.resumption = Resumption::disabled();
    let no_cipher = |_| "TLS has no cipher suite for QUIC".to_owned();
    let transport = Arc::new(transport());
    let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).map_err(no_cipher)?));
    server.transport_config(Arc::clone(&transport)).migration(false);
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).map_err(no_cipher)?));
    client.transport_config(transport);
    Ok(Credentials { server, client })
}

/// What `strowger check` says of the files: an error, or a warning when a certificate is about to end.
///
/// # Errors
/// As [`load`].
pub fn inspect(link: &Link, node: &str) -> Result<Option<String>, String> {
    load(link, node)?;
    let files = Files::read(link)?;
    let soon = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) + NOTICE);
    Ok(files.check(link, node, soon).err().map(|_| {
        let file = link.certificate_file.display();
        format!("{file} ends within 30 days: make another with `strowger link keygen` in good time")
    }))
}

impl Files {
    fn read(link: &Link) -> Result<Self, String> {
        let chain = certificates(&link.certificate_file, "link.certificate_file")?;
        let key = PrivateKeyDer::from_pem_file(&link.key_file)
            .map_err(|error| unreadable(&error, &link.key_file, "link.key_file"))?;
        let mut roots = RootCertStore::empty();
        for root in certificates(&link.ca_file, "link.ca_file")? {
            roots.add(root).map_err(|error| {
                format!("{} holds no usable certificate (`link.ca_file`): {error}", link.ca_file.display())
            })?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(Self { chain, key, roots: Arc::new(roots), provider })
    }

    /// Our own certificate as a peer will look at it, at `when`.
    fn check(&self, link: &Link, node: &str, when: UnixTime) -> Result<(), String> {
        let file = link.certificate_file.display();
        let (Some(own), name) = (self.chain.first(), subject(node)?) else {
            return Err(format!("{file} holds no certificate (`link.certificate_file`)"));
        };
        if !carries(own, node) {
            return Err(format!(
                "{file} is not the certificate of \"{node}\" (`node.name`): use the one that `strowger link keygen` made for it"
            ));
        }
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&self.roots), Arc::clone(&self.provider)).build();
        let verifier = builder.map_err(|error| format!("{}: {error} (`link.ca_file`)", link.ca_file.display()))?;
        let rest = self.chain.get(1..).unwrap_or_default();
        match verifier.verify_server_cert(own, rest, &name, &[], when) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!(
                "{file} would be refused by the peers: {error}; `link.certificate_file` and `link.ca_file` must come from one `strowger link keygen`, and this host's calendar must be right"
            )),
        }
    }
}

fn certificates(file: &Path, setting: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, PemError> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    match found {
        Ok(found) if found.is_empty() => Err(format!("{} holds no PEM certificate (`{setting}`)", file.display())),
        found => found.map_err(|error| unreadable(&error, file, setting)),
    }
}

fn unreadable(error: &PemError, file: &Path, setting: &str) -> String {
    let file = file.display();
    match error {
        PemError::Io(error) => {
            format!("cannot read {file}: {error}; `{setting}` names it, `strowger link keygen` makes it")
        }
        PemError::NoItemsFound => format!("{file} holds nothing of the kind in PEM form (`{setting}`)"),
        other => format!("{file} is not usable PEM (`{setting}`): {other:?}"),
    }
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(SILENCE_MAX).ok());
    transport
}
