//! `[[trunk]]` and `[[account]]`: who calls and is called, with their passwords, codecs and marks.

use super::media::qos;
use super::sip::transport;
use crate::config::check::nearest;
use crate::config::cross;
use crate::config::model::{Account, Device, Forking, Limits, Qos, Secret, Trunk, TrunkLogin};
use crate::config::reader::{Place, Reader};

pub(super) fn trunks<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>, marks: Qos) -> Vec<Trunk> {
    let places = reader.list(root, "trunk");
    let some = |value: u32| (value > 0).then_some(value);
    let mut out = Vec::with_capacity(places.len());
    for place in places {
        out.push(Trunk {
            name: reader.get(&place, "name").text(),
            address: reader.get(&place, "address").socket(),
            transport: transport(reader, &place),
            prefixes: reader.get(&place, "prefixes").texts().into_iter().map(|(prefix, _)| prefix).collect(),
            allow_from: reader.get(&place, "allow_from").nets(),
            max_calls: some(reader.get(&place, "max_calls").integer()),
            max_cps: some(reader.get(&place, "max_cps").integer()),
            timeout: reader.get(&place, "timeout").span(),
            retry_after: reader.get(&place, "retry_after").span(),
            rtp_symmetric: reader.get(&place, "rtp_symmetric").bool(),
            login: login(reader, &place),
            codecs: codecs(reader, &place),
            qos: qos(reader, &place, "trunk.qos", marks),
        });
    }
    cross::trunks(reader, root, &out);
    out
}

fn login<'s>(reader: &mut Reader<'s>, place: &Place<'_, 's>) -> Option<TrunkLogin> {
    let username = reader.get(place, "username").text_if_any();
    let password = reader.get(place, "password").text_if_any();
    let file = reader.get(place, "password_file").text_if_any();
    match (username, password, file) {
        (None, None, None) => None,
        (Some(username), Some(password), None) => Some(TrunkLogin { username, secret: Secret::Password(password) }),
        (Some(username), None, Some(file)) => Some(TrunkLogin { username, secret: Secret::File(file.into()) }),
        (Some(_), None, None) => {
            let span = reader.span(place, "username");
            reader
                .error(span, "`username` without a password", "cannot answer a challenge")
                .help("add `password_file` or `password`");
            None
        }
        (Some(_), Some(_), Some(_)) => {
            let span = reader.span(place, "password_file");
            reader.error(span, "two passwords", "beside `password`").help("keep one of them");
            None
        }
        (None, ..) => {
            let span = place.span.clone();
            reader.error(span, "a password without `username`", "in this table").help("add `username`");
            None
        }
    }
}

fn codecs<'s>(reader: &mut Reader<'s>, place: &Place<'_, 's>) -> Vec<String> {
    const KNOWN: [&str; 20] = [
        "PCMU", "PCMA", "G722", "G723", "G726-32", "G728", "G729", "GSM", "iLBC", "speex", "opus", "AMR", "AMR-WB",
        "EVS", "L16", "VP8", "VP9", "H264", "H265", "AV1",
    ];
    let mut out = Vec::new();
    for (codec, span) in reader.get(place, "codecs").texts() {
        let known = KNOWN.iter().any(|known| known.eq_ignore_ascii_case(&codec));
        if !known && let Some(near) = nearest(&codec, KNOWN.into_iter()) {
            let message = format!("codec \"{codec}\" is not one we know");
            reader
                .note(span, message, "compared with `a=rtpmap` as it stands")
                .help(format!("did you mean \"{near}\"?"));
        }
        out.push(codec);
    }
    out
}

pub(super) fn accounts<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>, marks: Qos, limits: &Limits) -> Vec<Account> {
    let places = reader.list(root, "account");
    let mut out = Vec::with_capacity(places.len());
    let mut unique = cross::Accounts::default();
    for place in places {
        let name = reader.get(&place, "name").text();
        let name_span = reader.span(&place, "name");
        unique.name(reader, &name, name_span);
        let numbers = reader.get(&place, "numbers").texts();
        numbers.iter().for_each(|(number, span)| unique.number(reader, number, span.clone()));
        let serial = reader.get(&place, "forking").text() == "serial";
        let mut devices = Vec::new();
        for device in reader.list(&place, "account.device") {
            let username = reader.get(&device, "username").text();
            let span = reader.span(&device, "username");
            unique.device(reader, &username, span);
            devices.push(Device { secret: secret(reader, &device, &username), username });
        }
        out.push(Account {
            name,
            numbers: numbers.into_iter().map(|(number, _)| number).collect(),
            max_calls: reader.get(&place, "max_calls").integer_if_any().unwrap_or(limits.default_max_calls),
            home: reader.get(&place, "home").text_if_any(),
            codecs: codecs(reader, &place),
            forking: if serial { Forking::Serial } else { Forking::Parallel },
            qos: qos(reader, &place, "account.qos", marks),
            devices,
        });
    }
    unique.finish(reader);
    out
}

fn secret<'s>(reader: &mut Reader<'s>, place: &Place<'_, 's>, username: &str) -> Secret {
    let password = reader.get(place, "password").text_if_any();
    let file = reader.get(place, "password_file").text_if_any();
    let md5 = reader.get(place, "ha1_md5").text_if_any();
    let sha256 = reader.get(place, "ha1_sha256").text_if_any();
    let span = place.span.clone();
    let ways = [password.is_some(), file.is_some(), md5.is_some() || sha256.is_some()];
    if ways.iter().filter(|&&given| given).count() > 1 {
        reader
            .error(span.clone(), format!("device `{username}` has two passwords"), "in this table")
            .help("keep one of `password`, `password_file`, or the HA1 values");
    }
    match (password, file, md5, sha256) {
        (Some(password), ..) => Secret::Password(password),
        (_, Some(file), ..) => Secret::File(file.into()),
        (_, _, Some(md5), Some(sha256)) => Secret::Ha1 { md5: hex(&md5), sha256: hex(&sha256) },
        (_, _, None, None) => {
            reader
                .error(span, format!("device `{username}` has no password"), "could never register")
                .help("add `password_file`, `password`, or `ha1_md5` and `ha1_sha256`");
            Secret::Password(String::new())
        }
        (_, _, md5, _) => {
            let missing = if md5.is_some() { "ha1_sha256" } else { "ha1_md5" };
            reader
                .error(span, format!("device `{username}` lacks `{missing}`"), "a phone may choose either algorithm")
                .help("give both HA1 values, or a password");
            Secret::Password(String::new())
        }
    }
}

fn hex<const N: usize>(text: &str) -> [u8; N] {
    let digit = |at: usize| text.as_bytes().get(at).and_then(|&byte| char::from(byte).to_digit(16)).unwrap_or(0) as u8;
    std::array::from_fn(|at| digit(2 * at) << 4 | digit(2 * at + 1))
}
