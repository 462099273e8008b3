//! Serial numbers: 16 random octets, positive (RFC 5280 section 4.1.2.2).

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use twinseal_proto::encoding::Digest;

/// The serial number of a certificate of ours, unique over all our CAs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Serial([u8; 16]);

/// The text or the octets are not a serial number that we could have given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a serial number of this CA: 32 hexadecimal digits are wanted")]
pub(crate) struct NotASerial;

impl Serial {
    /// The serial number for 16 random octets: 126 of the bits stay random, so that it is positive and never shorter.
    pub(crate) const fn from_random(mut octets: [u8; 16]) -> Self {
        octets[0] = octets[0] & 0x7f | 0x40;
        Self(octets)
    }

    /// What a certificate of another CA is called here: it follows from the certificate, so that each has one name.
    pub(crate) fn of_foreign(certificate: &Digest) -> Self {
        Self::from_random(std::array::from_fn(|i| certificate.0.get(i).copied().unwrap_or_default()))
    }

    /// Content octets of the DER INTEGER.
    pub(crate) const fn octets(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the content octets of a DER INTEGER.
    pub(crate) fn from_octets(octets: &[u8]) -> Result<Self, NotASerial> {
        octets.try_into().map(Self).map_err(|_| NotASerial)
    }
}

impl FromStr for Serial {
    type Err = NotASerial;

    /// Takes hexadecimal digits of any case, with or without colons between the octets.
    fn from_str(text: &str) -> Result<Self, NotASerial> {
        let digits: String = text.trim().chars().filter(|c| *c != ':').collect();
        let octets = data_encoding::HEXUPPER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| NotASerial)?;
        Self::from_octets(&octets)
    }
}

impl fmt::Display for Serial {
    /// Upper-case hexadecimal, as `openssl x509 -serial` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXUPPER.encode(&self.0))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

impl Serialize for Serial {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        <std::borrow::Cow<'de, str>>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn serial_numbers_are_positive_and_read_back_as_people_write_them() {
        let serial = Serial::from_random([0xff; 16]);
        assert_eq!(serial.octets()[0], 0x7f);
        assert_eq!(Serial::from_random([0; 16]).octets()[0], 0x40);
        assert_eq!(serial.to_string().parse::<Serial>().unwrap(), serial);
        assert_eq!("7f:ff:FF:ffffffffffffffffffffffffff".parse::<Serial>().unwrap(), serial);
        for bad in ["", "7F", "zz", "7fffffffffffffffffffffffffffffffff"] {
            assert_eq!(bad.parse::<Serial>(), Err(NotASerial), "{bad}");
        }
    }
}
