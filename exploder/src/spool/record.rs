//! Records of a spool segment, without any I/O: octets in, octets out.
//!
//! ```text
//! kind 1 | length of the payload 4 | CRC-32C of kind, length and payload 4 | payload
//! ```
//! Numbers are big-endian. A record that ends early or fails its sum is damage; the reader looks for the next whole record.

use twinseal_proto::ids::{MemberNumber, PostId};

/// Octets before the payload.
pub(crate) const HEADER: usize = 9;
/// Longest payload that is believed: the members of a message, a little more than a million; the rest is shorter.
const MAX_PAYLOAD: usize = 4 << 20;
/// Octets of one outcome.
const ENTRY: usize = 10;
/// Outcomes in one record; more of them fill several.
const ENTRIES: usize = 1 << 16;

/// What a record is. The octets are far from each other and from zero, so that damage does not look like one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A message, with its body or with the length of its body file.
    Accepted,
    /// The members to whom it goes.
    Recipients,
    /// What became of some copies.
    Outcomes,
    /// Nothing is left to do for it.
    Done,
}

impl Kind {
    const ALL: [(u8, Self); 4] =
        [(0xa5, Self::Accepted), (0xb6, Self::Recipients), (0xc7, Self::Outcomes), (0xd8, Self::Done)];

    fn octet(self) -> u8 {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or(0, |(octet, _)| *octet)
    }

    fn of(octet: u8) -> Option<Self> {
        Self::ALL.iter().find(|(o, _)| *o == octet).map(|(_, kind)| *kind)
    }
}

/// How a copy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum State {
    /// To be sent when it is due.
    Due = 1,
    /// To be sent when the member has a live key again.
    Parked = 2,
    /// Taken by the smarthost.
    Sent = 3,
    /// Failed for good.
    Failed = 4,
    /// The member has left, or may not open the message.
    Dropped = 5,
}

impl State {
    fn of(octet: u8) -> Option<Self> {
        [Self::Due, Self::Parked, Self::Sent, Self::Failed, Self::Dropped].into_iter().find(|s| *s as u8 == octet)
    }

    /// Whether nothing more will be done for the copy.
    pub(crate) fn is_final(self) -> bool {
        self >= Self::Sent
    }
}

/// One copy: 12 octets in memory, 10 in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recipient {
    /// The member.
    pub(crate) number: MemberNumber,
    /// When it is due, in seconds since 1970; good until 2106.
    pub(crate) due: u32,
    /// Tries that failed.
    pub(crate) attempts: u8,
    /// How it stands.
    pub(crate) state: State,
}

/// A message as its record has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted<'a> {
    /// The message.
    pub(crate) id: PostId,
    /// JSON text of the intake record.
    pub(crate) intake: &'a [u8],
    /// Octets of the CMS body.
    pub(crate) body_len: u64,
    /// The body, unless it has a file of its own.
    pub(crate) body: Option<&'a [u8]>,
}

impl<'a> Accepted<'a> {
    /// Octets of the payload before the intake record.
    pub(crate) const FIXED: usize = 21;

    /// The record.
    pub(crate) fn record(&self) -> Vec<u8> {
        let body = self.body.unwrap_or_default();
        let fixed = [
            self.id.0.to_be_bytes().as_slice(),
            &self.body_len.to_be_bytes(),
            &[u8::from(self.body.is_some())],
            &length(self.intake).to_be_bytes(),
        ]
        .concat();
        record(Kind::Accepted, &[&fixed, self.intake, body])
    }

    /// Reads the payload.
    pub(crate) fn read(payload: &'a [u8]) -> Option<Self> {
        let (id, rest) = payload.split_first_chunk()?;
        let (body_len, rest) = rest.split_first_chunk()?;
        let (inline, rest) = rest.split_first()?;
        let (intake_len, rest) = rest.split_first_chunk()?;
        let (intake, body) = rest.split_at_checked(u32::from_be_bytes(*intake_len) as usize)?;
        let body_len = u64::from_be_bytes(*body_len);
        let body = match inline {
            1 if body.len() as u64 == body_len => Some(body),
            0 if body.is_empty() => None,
            _ => return None,
        };
        Some(Self { id: PostId(u64::from_be_bytes(*id)), intake, body_len, body })
    }
}

/// The record of the members to whom a message goes.
pub(crate) fn recipients_record(id: PostId, members: impl Iterator<Item = MemberNumber>) -> Vec<u8> {
    let numbers: Vec<u8> = members.flat_map(|number| number.0.to_be_bytes()).collect();
    record(Kind::Recipients, &[&id.0.to_be_bytes(), &numbers])
}

/// Reads the payload of [`Kind::Recipients`].
pub(crate) fn read_recipients(payload: &[u8]) -> Option<(PostId, Vec<MemberNumber>)> {
    let (id, rest) = payload.split_first_chunk()?;
    let (numbers, []) = rest.as_chunks::<4>() else { return None };
    Some((PostId(u64::from_be_bytes(*id)), numbers.iter().map(|n| MemberNumber(u32::from_be_bytes(*n))).collect()))
}

/// The records of what became of some copies: as many as are needed, one behind the other.
pub(crate) fn outcomes_records(id: PostId, copies: &[Recipient]) -> Vec<u8> {
    let entry = |copy: &Recipient| {
        let [n0, n1, n2, n3] = copy.number.0.to_be_bytes();
        let [d0, d1, d2, d3] = copy.due.to_be_bytes();
        [n0, n1, n2, n3, d0, d1, d2, d3, copy.attempts, copy.state as u8]
    };
    let one = |copies: &[Recipient]| {
        let entries: Vec<u8> = copies.iter().flat_map(entry).collect();
        record(Kind::Outcomes, &[&id.0.to_be_bytes(), &entries])
    };
    copies.chunks(ENTRIES).flat_map(one).collect()
}

/// Reads the payload of [`Kind::Outcomes`].
pub(crate) fn read_outcomes(payload: &[u8]) -> Option<(PostId, Vec<Recipient>)> {
    let (id, rest) = payload.split_first_chunk()?;
    let (entries, []) = rest.as_chunks::<ENTRY>() else { return None };
    let copies = entries
        .iter()
        .map(|[n0, n1, n2, n3, d0, d1, d2, d3, attempts, state]| {
            Some(Recipient {
                number: MemberNumber(u32::from_be_bytes([*n0, *n1, *n2, *n3])),
                due: u32::from_be_bytes([*d0, *d1, *d2, *d3]),
                attempts: *attempts,
                state: State::of(*state)?,
            })
        })
        .collect::<Option<Vec<_>>>()?;
    Some((PostId(u64::from_be_bytes(*id)), copies))
}

/// The record that ends a message.
pub(crate) fn done_record(id: PostId) -> Vec<u8> {
    record(Kind::Done, &[&id.0.to_be_bytes()])
}

/// Reads the payload of [`Kind::Done`].
pub(crate) fn read_done(payload: &[u8]) -> Option<PostId> {
    payload.try_into().ok().map(|id| PostId(u64::from_be_bytes(id)))
}

fn record(kind: Kind, parts: &[&[u8]]) -> Vec<u8> {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let mut octets = Vec::with_capacity(HEADER + total);
    octets.push(kind.octet());
    octets.extend_from_slice(&u32::try_from(total).unwrap_or(u32::MAX).to_be_bytes());
    let sum = parts.iter().fold(crc32c::crc32c(&octets), |sum, part| crc32c::crc32c_append(sum, part));
    octets.extend_from_slice(&sum.to_be_bytes());
    for part in parts {
        octets.extend_from_slice(part);
    }
    octets
}

fn length(octets: &[u8]) -> u32 {
    u32::try_from(octets.len()).unwrap_or(u32::MAX)
}

/// What stands at a place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// A whole record: its kind, the offset of its payload, and the payload.
    Record(Kind, u64, &'a [u8]),
    /// Octets that are no record, with a whole record behind them.
    Damage(std::ops::Range<u64>),
    /// Octets up to the end that are no record: what a crash tore.
    Torn(u64),
}

/// Reads a segment from its beginning.
pub(crate) struct Items<'a> {
    segment: &'a [u8],
    at: usize,
}

impl<'a> Items<'a> {
    /// The records of `segment`.
    pub(crate) const fn new(segment: &'a [u8]) -> Self {
        Self { segment, at: 0 }
    }

    fn whole(&self, at: usize) -> Option<(Kind, &'a [u8])> {
        let (head, rest) = self.segment.get(at..)?.split_first_chunk::<HEADER>()?;
        let [octet, l0, l1, l2, l3, sum @ ..] = head;
        let kind = Kind::of(*octet)?;
        let length = u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize;
        let payload = rest.get(..length).filter(|_| length <= MAX_PAYLOAD)?;
        let actual = crc32c::crc32c_append(crc32c::crc32c(&[*octet, *l0, *l1, *l2, *l3]), payload);
        (actual.to_be_bytes() == *sum).then_some((kind, payload))
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let start = self.at;
        if start >= self.segment.len() {
            return None;
        }
        if let Some((kind, payload)) = self.whole(start) {
            self.at = start + HEADER + payload.len();
            return Some(Item::Record(kind, (start + HEADER) as u64, payload));
        }
        let next = (start + 1..self.segment.len()).find(|at| self.whole(*at).is_some());
        self.at = next.unwrap_or(self.segment.len());
        Some(next.map_or(Item::Torn(start as u64), |next| Item::Damage(start as u64..next as u64)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    fn copy(number: u32, state: State) -> Recipient {
        Recipient { number: MemberNumber(number), due: 1_795_341_296, attempts: 3, state }
    }

    fn some_records() -> Vec<Vec<u8>> {
        let id = PostId(0x0000_0100_0007);
        let inline = Accepted { id, intake: b"{\"list\":1}", body_len: 4, body: Some(b"\xa5\0\0\0") };
        let filed = Accepted { id: PostId(9), intake: b"{}", body_len: 5_000_000, body: None };
        vec![
            inline.record(),
            recipients_record(id, [1, 2, 3].into_iter().map(MemberNumber)),
            outcomes_records(id, &[copy(1, State::Sent), copy(2, State::Due)]),
            filed.record(),
            done_record(id),
            recipients_record(PostId(9), std::iter::empty()),
        ]
    }

    fn payloads(octets: &[u8]) -> Vec<&[u8]> {
        Items::new(octets).filter_map(|item| if let Item::Record(_, _, p) = item { Some(p) } else { None }).collect()
    }

    #[test]
    fn records_read_back() {
        let octets = some_records().concat();
        let mut items = Items::new(&octets);
        let Some(Item::Record(Kind::Accepted, 9, payload)) = items.next() else { panic!() };
        let accepted = Accepted::read(payload).unwrap();
        assert_eq!(
            (accepted.id, accepted.intake, accepted.body),
            (PostId(0x0000_0100_0007), &b"{\"list\":1}"[..], Some(&b"\xa5\0\0\0"[..]))
        );
        assert_eq!(payload.len(), Accepted::FIXED + 10 + 4);
        let Some(Item::Record(Kind::Recipients, _, payload)) = items.next() else { panic!() };
        assert_eq!(read_recipients(payload).unwrap().1, [1, 2, 3].map(MemberNumber));
        let Some(Item::Record(Kind::Outcomes, _, payload)) = items.next() else { panic!() };
        assert_eq!(read_outcomes(payload).unwrap().1, [copy(1, State::Sent), copy(2, State::Due)]);
        let Some(Item::Record(Kind::Accepted, _, payload)) = items.next() else { panic!() };
        assert_eq!(Accepted::read(payload).unwrap().body, None);
        let Some(Item::Record(Kind::Done, _, payload)) = items.next() else { panic!() };
        assert_eq!(read_done(payload), Some(PostId(0x0000_0100_0007)));
        assert_eq!(items.count(), 1);
        assert_eq!(std::mem::size_of::<Recipient>(), 12);
    }

    #[test]
    fn a_million_copies_fit() {
        let id = PostId(7);
        let copies: Vec<Recipient> = (0..1_000_000).map(|number| copy(number, State::Sent)).collect();
        let octets =
            [recipients_record(id, copies.iter().map(|copy| copy.number)), outcomes_records(id, &copies)].concat();
        let mut payloads = payloads(&octets).into_iter();
        assert_eq!(read_recipients(payloads.next().unwrap()).unwrap().1.len(), copies.len());
        let read: Vec<Recipient> = payloads.flat_map(|payload| read_outcomes(payload).unwrap().1).collect();
        assert!(read == copies);
    }

    #[test]
    fn wherever_the_file_is_cut_every_record_before_the_cut_is_read() {
        let records = some_records();
        let octets = records.concat();
        for cut in 0..=octets.len() {
            let kept = &octets[..cut];
            let whole = records
                .iter()
                .scan(0, |end, r| {
                    *end += r.len();
                    Some(*end)
                })
                .filter(|end| *end <= cut);
            let ends: Vec<usize> = whole.collect();
            assert_eq!(payloads(kept).len(), ends.len(), "cut at {cut}");
            let last = Items::new(kept).last();
            let end = ends.last().copied().unwrap_or(0);
            assert_eq!(matches!(last, Some(Item::Torn(at)) if at == end as u64), end < cut, "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn damage_costs_only_the_records_that_it_hits(at in 0..100_usize, with in 1..=255_u8) {
            let records = some_records();
            let mut octets = records.concat();
            let at = at % octets.len();
            octets[at] ^= with;
            let found = payloads(&octets);
            prop_assert_eq!(found.len(), records.len() - 1);
            for payload in found {
                prop_assert!(records.iter().any(|r| r.ends_with(payload)));
            }
        }

        #[test]
        fn rubbish_is_never_a_record(octets in proptest::collection::vec(any::<u8>(), 0..4096)) {
            prop_assert!(payloads(&octets).is_empty());
        }
    }
}
