//! The other end of a link as somebody else might write it: any frames, any octets, with a certificate of its choice.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use strowger::base::Instant;
use strowger::tally::Identity;
use strowger::tally::wire::{Frame, Hello, decode, encode};

/// A connection that has been opened by hand.
pub struct Stranger {
    _connection: Connection,
    pub send: SendStream,
    receive: RecvStream,
    octets: Vec<u8>,
    _endpoint: Endpoint,
}

/// A client that shows the certificate of `name` from the folder `keys`, and believes the authority of `trusted`.
pub fn client(keys: &Path, trusted: &Path, name: &str) -> ClientConfig {
    let chain = CertificateDer::pem_file_iter(keys.join(format!("{name}.pem"))).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(keys.join(format!("{name}.key"))).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trusted.join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let mut config = builder.with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"strowger-link".to_vec()];
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
}

/// A greeting in the name of `name`.
pub fn hello(name: &str, disk: u128, incarnation: u32) -> Hello {
    Hello::new(Identity { name: name.into(), disk, incarnation }, Instant::ZERO, 0)
}

impl Stranger {
    /// Dials the site `name` and opens the stream.
    pub async fn dial(config: ClientConfig, to: SocketAddr, name: &str) -> Result<Self, quinn::ConnectionError> {
        let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        endpoint.set_default_client_config(config);
        let connection = endpoint.connect(to, name).unwrap().await?;
        let (send, receive) = connection.open_bi().await?;
        Ok(Self { _connection: connection, send, receive, octets: Vec::new(), _endpoint: endpoint })
    }

    /// Sends a frame.
    pub async fn say(&mut self, frame: &Frame) {
        let mut octets = Vec::new();
        encode(2, frame, &mut octets).unwrap();
        self.send.write_all(&octets).await.unwrap();
    }

    /// The next frame of the site; none at the end.
    pub async fn hear(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = decode(&self.octets).unwrap() {
                self.octets.drain(..length);
                return Some(frame);
            }
            let chunk = self.receive.read_chunk(65_536, true).await.ok()??;
            self.octets.extend_from_slice(&chunk.bytes);
        }
    }
}
