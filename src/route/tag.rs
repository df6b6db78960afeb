//! The tag: where a session lives, written into the id that its client echoes.
//!
//! `kind key . base64url(endpoint[6] || mac[16]) [. upstream id]`, 34 bytes in front of the
//! server's own id. The MAC is HMAC-SHA256 over all that the tag says and the id behind it, cut to
//! 128 bits, so a client can neither choose its arm nor move an id to another one. No table: any
//! replica with the key, and this router after a restart, reads the same. A tag routes; it never
//! authenticates anyone. Does not know: which endpoints exist.

use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::names::EndpointId;

/// Bytes of the MAC that a tag carries.
const MAC_BYTES: usize = 16;
/// Length of the encoded endpoint and MAC.
const BODY_CHARS: usize = 30;
/// Longest id of a server that is tagged (and the longest that any SDK makes is 36).
pub const UPSTREAM_ID_MAX: usize = 1024;

/// What stands behind a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearer {
    /// A session id that the server gave.
    Server,
    /// A session id that we made, since the server gives none; it never reaches the server.
    Minted,
    /// The message URI of a 2024-11-05 session; the tag is a parameter in it.
    Uri,
}

impl Bearer {
    const fn byte(self) -> u8 {
        match self {
            Bearer::Server => b'1',
            Bearer::Minted => b'm',
            Bearer::Uri => b's',
        }
    }

    fn of(byte: u8) -> Option<Bearer> {
        [Bearer::Server, Bearer::Minted, Bearer::Uri].into_iter().find(|it| it.byte() == byte)
    }
}

/// Whether a tag was made with the key in use or with the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAge {
    /// The key that signs.
    Current,
    /// The key that is still accepted.
    Previous,
}

/// A tag that was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    /// What it stands in front of.
    pub bearer: Bearer,
    /// Where the session lives.
    pub endpoint: EndpointId,
    /// Which key made it.
    pub key: KeyAge,
    /// What follows: the server's own id, or what makes a minted id unique.
    pub id: &'a str,
}

/// Not made by us, or changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session id was not made by this router, or was changed")]
pub struct Forged;

/// The id of a server that cannot be passed on: empty, too long, or not visible ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's session id is not 1 to 1024 visible ASCII characters")]
pub struct BadUpstreamId;

/// One secret, with the character that names it in tags.
struct Key {
    name: u8,
    mac: hmac::Key,
}

impl Key {
    fn new(secret: &[u8]) -> Key {
        let named = [b"tidegate-key-name/1 ", secret].concat();
        let digest = digest::digest(&digest::SHA256, &named);
        Key {
            name: BASE64.encode(&digest.as_ref()[..3]).as_bytes()[0],
            mac: hmac::Key::new(hmac::HMAC_SHA256, secret),
        }
    }

    fn mac(&self, bearer: Bearer, endpoint: EndpointId, id: &str) -> hmac::Tag {
        let mut mac = hmac::Context::with_key(&self.mac);
        mac.update(b"tidegate-tag/1");
        mac.update(&[bearer.byte(), self.name]);
        mac.update(&endpoint.0);
        mac.update(&(id.len() as u64).to_be_bytes());
        mac.update(id.as_bytes());
        mac.sign()
    }
}

/// The keys: one signs, both are accepted.
pub struct Keyring {
    current: Key,
    previous: Option<Key>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[keys]")
    }
}

impl Keyring {
    /// A ring of the key that signs and, after a rotation, the one before.
    pub fn new(current: &[u8], previous: Option<&[u8]>) -> Keyring {
        Keyring { current: Key::new(current), previous: previous.map(Key::new) }
    }

    /// Whether what another ring has signed is still accepted.
    pub fn accepts(&self, other: &Keyring) -> bool {
        self.read(&other.mint(EndpointId([0; 6]), [0; 16])).is_ok()
    }

    /// The id that the client gets for a server's own.
    ///
    /// # Errors
    /// When the server's id is not what the protocol allows.
    pub fn attach(&self, endpoint: EndpointId, id: &str) -> Result<String, BadUpstreamId> {
        let visible = id.bytes().all(|byte| (0x21..=0x7E).contains(&byte));
        if id.is_empty() || id.len() > UPSTREAM_ID_MAX || !visible {
            return Err(BadUpstreamId);
        }
        Ok(format!("{}.{id}", self.sign(Bearer::Server, endpoint, id)))
    }

    /// An id for a session of a server that gives none; `unique` is random.
    pub fn mint(&self, endpoint: EndpointId, unique: [u8; 16]) -> String {
        let id = BASE64.encode(unique);
        format!("{}.{id}", self.sign(Bearer::Minted, endpoint, &id))
    }

    /// The tag for a message URI, to be put into it as a parameter.
    pub fn attach_uri(&self, endpoint: EndpointId, uri: &str) -> String {
        self.sign(Bearer::Uri, endpoint, uri)
    }

    /// Reads a session id that a client sent.
    pub fn read<'a>(&self, session: &'a str) -> Result<Tag<'a>, Forged> {
        let (tag, id) = session.split_at_checked(BODY_CHARS + 3).ok_or(Forged)?;
        let id = id.strip_prefix('.').ok_or(Forged)?;
        match self.verify(tag, id)? {
            Tag { bearer: Bearer::Uri, .. } => Err(Forged),
            tag => Ok(tag),
        }
    }

    /// Reads the tag of a message URI; `uri` is the URI without it.
    pub fn read_uri<'a>(&self, tag: &str, uri: &'a str) -> Result<Tag<'a>, Forged> {
        match self.verify(tag, uri)? {
            tag @ Tag { bearer: Bearer::Uri, .. } => Ok(tag),
            _ => Err(Forged),
        }
    }

    fn sign(&self, bearer: Bearer, endpoint: EndpointId, id: &str) -> String {
        let mac = self.current.mac(bearer, endpoint, id);
        let body = BASE64.encode([&endpoint.0[..], &mac.as_ref()[..MAC_BYTES]].concat());
        format!("{}{}.{body}", char::from(bearer.byte()), char::from(self.current.name))
    }

    fn verify<'a>(&self, tag: &str, id: &'a str) -> Result<Tag<'a>, Forged> {
        let [kind, name, b'.', body @ ..] = tag.as_bytes() else { return Err(Forged) };
        let bearer = Bearer::of(*kind).ok_or(Forged)?;
        // The strict decoder refuses stray bits, so one tag has one spelling.
        let body = BASE64.decode(body).map_err(|_| Forged)?;
        let (endpoint, mac) = body.split_first_chunk::<6>().ok_or(Forged)?;
        if mac.len() != MAC_BYTES {
            return Err(Forged);
        }
        let endpoint = EndpointId(*endpoint);
        let keys =
            [(KeyAge::Current, Some(&self.current)), (KeyAge::Previous, self.previous.as_ref())];
        keys.into_iter()
            .filter_map(|(age, key)| key.map(|key| (age, key)))
            .filter(|(_, key)| key.name == *name)
            .find(|(_, key)| {
                let whole = key.mac(bearer, endpoint, id);
                constant_time::verify_slices_are_equal(&whole.as_ref()[..MAC_BYTES], mac).is_ok()
            })
            .map(|(key, _)| Tag { bearer, endpoint, key, id })
            .ok_or(Forged)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HERE: EndpointId = EndpointId([1, 2, 3, 4, 5, 6]);

    fn ring() -> Keyring {
        Keyring::new(b"a key of at least thirty-two bytes", None)
    }

    #[test]
    fn what_goes_out_comes_back() {
        let session = ring().attach(HERE, "abc-123").unwrap();
        assert_eq!(session.len(), 34 + "abc-123".len());
        let tag = ring().read(&session).unwrap();
        assert_eq!((tag.bearer, tag.endpoint, tag.id), (Bearer::Server, HERE, "abc-123"));
        let minted = ring().mint(HERE, [7; 16]);
        assert_eq!(ring().read(&minted).unwrap().bearer, Bearer::Minted);
        let uri = ring().attach_uri(HERE, "/message?sessionId=1");
        assert!(ring().read_uri(&uri, "/message?sessionId=1").is_ok());
        assert_eq!(ring().read_uri(&uri, "/message?sessionId=2"), Err(Forged));
    }

    #[test]
    fn one_kind_is_not_taken_for_another() {
        let uri = ring().attach_uri(HERE, "x");
        assert_eq!(ring().read(&format!("{uri}.x")), Err(Forged));
        let session = ring().attach(HERE, "x").unwrap();
        assert_eq!(ring().read_uri(&session[..33], "x"), Err(Forged));
        assert_eq!(ring().read(&session.replacen('1', "m", 1)), Err(Forged));
    }

    #[test]
    fn two_keys_for_rotation() {
        let (old, new) = (
            b"the old key, thirty-two bytes long".as_slice(),
            b"the new key, thirty-two bytes long".as_slice(),
        );
        let session = Keyring::new(old, None).attach(HERE, "x").unwrap();
        let both = Keyring::new(new, Some(old));
        assert_eq!(both.read(&session).unwrap().key, KeyAge::Previous);
        assert_eq!(both.read(&both.attach(HERE, "x").unwrap()).unwrap().key, KeyAge::Current);
        assert_eq!(Keyring::new(new, None).read(&session), Err(Forged));
        assert!(both.accepts(&Keyring::new(old, None)));
        assert!(!Keyring::new(old, None).accepts(&both));
    }

    #[test]
    fn bad_ids_of_servers() {
        assert!(ring().attach(HERE, &"x".repeat(1024)).is_ok());
        for bad in ["", "a b", "a\u{7f}", "é", &"x".repeat(1025)] {
            assert_eq!(ring().attach(HERE, bad), Err(BadUpstreamId), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_change_of_a_byte_is_refused(
            id in "[!-~]{1,60}", at in any::<prop::sample::Index>(), byte in 0x21_u8..0x7F,
        ) {
            let session = ring().attach(HERE, &id).unwrap();
            let mut changed = session.clone().into_bytes();
            let at = at.index(changed.len());
            changed[at] = byte;
            let changed = String::from_utf8(changed).unwrap();
            prop_assert_eq!(ring().read(&changed).is_ok(), changed == session);
        }

        #[test]
        fn any_text_is_refused_without_a_panic(text in ".*") {
            prop_assert_eq!(ring().read(&text), Err(Forged));
            prop_assert_eq!(ring().read_uri(&text, "x"), Err(Forged));
        }

        #[test]
        fn a_shortened_tag_is_refused(id in "[!-~]{1,60}", keep in any::<prop::sample::Index>()) {
            let session = ring().attach(HERE, &id).unwrap();
            let keep = keep.index(session.len());
            prop_assert_eq!(ring().read(&session[..keep]), Err(Forged));
        }
    }
}
