//! How Rust values become bytes and back.

/// A value that has a form in bytes.
///
/// The forms given here keep order: of two numbers, strings or byte strings the smaller one has the smaller bytes. So
/// they can be user keys of maps that are scanned in ranges. Numbers are big-endian with the sign turned, floats by
/// IEEE 754's total order.
pub trait Codec: Sized {
    /// Appends the bytes.
    fn encode(&self, out: &mut Vec<u8>);

    /// The value of these bytes, all of them; `None` where they are none.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

macro_rules! unsigned {
    ($($t:ty),*) => {$(
        impl Codec for $t {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn decode(bytes: &[u8]) -> Option<Self> {
                Some(Self::from_be_bytes(bytes.try_into().ok()?))
            }
        }
    )*};
}

macro_rules! signed {
    ($($t:ty),*) => {$(
        impl Codec for $t {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&(*self ^ Self::MIN).to_be_bytes());
            }

            fn decode(bytes: &[u8]) -> Option<Self> {
                Some(Self::from_be_bytes(bytes.try_into().ok()?) ^ Self::MIN)
            }
        }
    )*};
}

unsigned!(u8, u16, u32, u64, u128);
signed!(i8, i16, i32, i64, i128);

impl Codec for f64 {
    fn encode(&self, out: &mut Vec<u8>) {
        let bits = self.to_bits();
        // Negative numbers sort the other way round, below the positive ones.
        let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
        ordered.encode(out);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let ordered = u64::decode(bytes)?;
        Some(Self::from_bits(if ordered >> 63 == 1 { ordered & !(1 << 63) } else { !ordered }))
    }
}

impl Codec for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl Codec for () {
    fn encode(&self, _out: &mut Vec<u8>) {}

    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(())
    }
}

impl Codec for String {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        String::from_utf8(bytes.to_vec()).ok()
    }
}

impl Codec for Vec<u8> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Codec + PartialEq + std::fmt::Debug>(ascending: &[T]) {
        let forms: Vec<Vec<u8>> = ascending
            .iter()
            .map(|value| {
                let mut bytes = Vec::new();
                value.encode(&mut bytes);
                assert_eq!(T::decode(&bytes).as_ref(), Some(value));
                bytes
            })
            .collect();
        assert!(forms.is_sorted(), "{ascending:?} became {forms:?}");
    }

    #[test]
    fn forms_keep_order_and_come_back() {
        check(&[0_u64, 1, 255, 256, u64::MAX]);
        check(&[i64::MIN, -256, -255, -1, 0, 1, 300, i64::MAX]);
        check(&[i8::MIN, -1, 0, i8::MAX]);
        check(&[f64::NEG_INFINITY, -2.5, -0.0, 0.0, 1e-300, 7.0, f64::INFINITY]);
        check(&[String::new(), "a".to_owned(), "ab".to_owned(), "b".to_owned()]);
        check(&[false, true]);
        check(&[vec![], vec![0], vec![0, 0], vec![1]]);
    }

    #[test]
    fn bytes_of_another_length_are_refused() {
        assert_eq!(u64::decode(&[0; 7]), None);
        assert_eq!(i32::decode(&[0; 5]), None);
        assert_eq!(bool::decode(&[2]), None);
        assert_eq!(<()>::decode(&[0]), None);
        assert_eq!(String::decode(&[0xFF]), None);
    }
}
