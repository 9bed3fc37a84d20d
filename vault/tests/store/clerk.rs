//! The keys of a ledger that hides nothing, and the walk that asks it.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use vault::store::{Digest, Follow, RawRow, SledStore, Step, WalkEnd, Witness};

/// Keeps the ledger with a key that everybody knows. It hides nothing, and needs not.
#[derive(Debug)]
pub(crate) struct Clerk(pub(crate) u8);

impl Clerk {
    fn mac(&self, parts: &[&[u8]]) -> Digest {
        let mut mac = Hmac::<Sha256>::new_from_slice(&[self.0; 32]).unwrap();
        for part in parts {
            mac.update(&u64::try_from(part.len()).unwrap().to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl Witness for Clerk {
    fn digest(&self, tree: &str, key: &[u8], record: &[u8]) -> Digest {
        self.mac(&[tree.as_bytes(), key, record])
    }

    fn seal(&self, counter: u64, ledger: &[u8]) -> Vec<u8> {
        [&self.mac(&[b"ledger", &counter.to_be_bytes(), ledger])[..], ledger].concat()
    }

    fn open(&self, counter: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        let (mac, ledger) = sealed.split_first_chunk::<32>()?;
        let genuine = *mac == self.mac(&[b"ledger", &counter.to_be_bytes(), ledger]);
        genuine.then(|| ledger.to_vec())
    }
}

/// Walks to the end, and says what was told on the way.
pub(crate) fn walk(store: &SledStore, follow: Follow) -> (Vec<RawRow>, WalkEnd) {
    let (mut walk, mut all) = (store.walk(follow).unwrap(), Vec::new());
    loop {
        match walk.step().unwrap() {
            Step::Rows(rows) => all.extend(rows),
            Step::End(end) => return (all, end),
        }
    }
}

/// The collections that are not as the store left them.
pub(crate) fn apart(store: &SledStore) -> Vec<&'static str> {
    walk(store, Follow::Once).1.apart
}
