//! RPC over HTTP's own PDUs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::{ErrorKind, Result};
use crate::guid::Guid;
use crate::input::{ByteOrder, Input};

bitflags::bitflags! {
    /// [MS-RPCH] 2.2.3.6.1 RTS PDU Header: `Flags`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct RtsFlags: u16 {
        /// Proof that the sender is alive.
        const PING = 0x0001;
        /// The PDU carries commands of no special kind.
        const OTHER_CMD = 0x0002;
        /// A channel is replaced by another.
        const RECYCLE_CHANNEL = 0x0004;
        /// The PDU belongs to an IN channel.
        const IN_CHANNEL = 0x0008;
        /// The PDU belongs to an OUT channel.
        const OUT_CHANNEL = 0x0010;
        /// The last PDU of a channel.
        const EOF = 0x0020;
        /// An echo.
        const ECHO = 0x0040;
        const _ = !0;
    }
}

/// [MS-RPCH] 2.2.3.5 RTS Commands: what kind a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RtsCommandType(pub u32);

impl RtsCommandType {
    /// The specification's name, where there is one.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0x0 => "ReceiveWindowSize",
            0x1 => "FlowControlAck",
            0x2 => "ConnectionTimeout",
            0x3 => "Cookie",
            0x4 => "ChannelLifetime",
            0x5 => "ClientKeepalive",
            0x6 => "Version",
            0x7 => "Empty",
            0x8 => "Padding",
            0x9 => "NegativeANCE",
            0xa => "ANCE",
            0xb => "ClientAddress",
            0xc => "AssociationGroupId",
            0xd => "Destination",
            0xe => "PingTrafficSentNotify",
            _ => return None,
        })
    }
}

/// What a command carries: [MS-RPCH] 2.2.3.5 RTS Commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtsValue {
    /// Nothing.
    Empty,
    /// One number: a size, a time in milliseconds, a version, a destination.
    Number(u32),
    /// A cookie that names a connection, a channel or an association group.
    Cookie(Guid),
    /// The client's address as its proxy sees it.
    Address(IpAddr),
    /// Bytes received, window left, and the channel they are of.
    FlowControl {
        /// `BytesReceived`.
        received: u32,
        /// `AvailableWindow`.
        window: u32,
        /// `ChannelCookie`.
        channel: Guid,
    },
    /// Padding of so many bytes.
    Padding(u32),
}

/// [MS-RPCH] 2.2.3.5 RTS Commands: one of those in an RTS PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtsCommand {
    /// Its kind.
    pub kind: RtsCommandType,
    /// What it carries.
    pub value: RtsValue,
}

/// [MS-RPCH] 2.2.3.6 RTS PDU Structure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rts {
    /// What the PDU is for.
    pub flags: RtsFlags,
    /// `NumberOfCommands`, as claimed.
    pub number_of_commands: u16,
    /// The commands, up to the first of a kind we cannot measure.
    pub commands: Vec<RtsCommand>,
}

impl Rts {
    /// Reads what follows the common header.
    pub fn parse(body: &[u8], order: ByteOrder) -> Result<Self> {
        let mut input = Input::new(body, order, "rts");
        let flags = RtsFlags::from_bits_retain(input.u16()?);
        let number_of_commands = input.u16()?;
        if usize::from(number_of_commands).saturating_mul(4) > input.remaining() {
            return Err(input.error(ErrorKind::Truncated {
                need: usize::from(number_of_commands).saturating_mul(4),
                have: input.remaining(),
            }));
        }
        let mut commands = Vec::with_capacity(usize::from(number_of_commands));
        for _ in 0..number_of_commands {
            let kind = RtsCommandType(input.u32()?);
            let Some(value) = value(kind, &mut input)? else { break };
            commands.push(RtsCommand { kind, value });
        }
        Ok(Self {
            flags,
            number_of_commands,
            commands,
        })
    }
}

/// None for a kind whose length we do not know: what follows cannot be found.
fn value(kind: RtsCommandType, input: &mut Input<'_>) -> Result<Option<RtsValue>> {
    Ok(Some(match kind.0 {
        0x0 | 0x2 | 0x4..=0x6 | 0xd | 0xe => RtsValue::Number(input.u32()?),
        0x1 => RtsValue::FlowControl {
            received: input.u32()?,
            window: input.u32()?,
            channel: input.guid()?,
        },
        0x3 | 0xc => RtsValue::Cookie(input.guid()?),
        0x7 | 0x9 | 0xa => RtsValue::Empty,
        0x8 => {
            let length = input.u32()?;
            input.skip(usize::try_from(length).unwrap_or(usize::MAX))?;
            RtsValue::Padding(length)
        }
        0xb => {
            let family = input.u32()?;
            let address = match family {
                0 => IpAddr::from(Ipv4Addr::from(octets::<4>(input)?)),
                1 => IpAddr::from(Ipv6Addr::from(octets::<16>(input)?)),
                other => return Err(input.invalid("AddressType", other)),
            };
            input.skip(12)?;
            RtsValue::Address(address)
        }
        _ => return Ok(None),
    }))
}

fn octets<const LENGTH: usize>(input: &mut Input<'_>) -> Result<[u8; LENGTH]> {
    let mut octets = [0; LENGTH];
    octets.copy_from_slice(input.take(LENGTH)?);
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ndr::Encoding;
    use crate::testing::Writer;

    const COOKIE: Guid = Guid::com(0x1234);

    fn conn_b1(order: ByteOrder) -> Vec<u8> {
        let mut writer = Writer::new(order, Encoding::Ndr20);
        writer.u16(0x0008).u16(4);
        writer.u32(6).u32(1);
        writer.u32(3).guid(COOKIE);
        writer.u32(0xb).u32(1).raw(&Ipv6Addr::LOCALHOST.octets()).raw(&[0; 12]);
        writer.u32(1).u32(100).u32(65_536).guid(COOKIE);
        writer.bytes()
    }

    #[test]
    fn commands_read_the_same_in_both_byte_orders() {
        let little = conn_b1(ByteOrder::Little);
        let rts = Rts::parse(&little, ByteOrder::Little).unwrap();
        assert_eq!(Rts::parse(&conn_b1(ByteOrder::Big), ByteOrder::Big), Ok(rts.clone()));
        assert_eq!((rts.flags, rts.number_of_commands), (RtsFlags::IN_CHANNEL, 4));
        assert_eq!(rts.commands[0].kind.name(), Some("Version"));
        assert_eq!(rts.commands[1].value, RtsValue::Cookie(COOKIE));
        assert_eq!(
            rts.commands[2].value,
            RtsValue::Address(IpAddr::from(Ipv6Addr::LOCALHOST))
        );
        assert!(matches!(
            rts.commands[3].value,
            RtsValue::FlowControl { window: 65_536, .. }
        ));
        for length in 0..little.len() {
            assert!(
                Rts::parse(&little[..length], ByteOrder::Little).is_err(),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn a_command_of_an_unknown_kind_ends_the_reading_and_is_counted() {
        let mut writer = Writer::new(ByteOrder::Little, Encoding::Ndr20);
        writer.u16(0).u16(2).u32(0xff).u32(0);
        let rts = Rts::parse(&writer.bytes(), ByteOrder::Little).unwrap();
        assert_eq!((rts.number_of_commands, rts.commands.len()), (2, 0));
    }

    #[test]
    fn padding_of_four_milliards_costs_nothing() {
        let mut writer = Writer::new(ByteOrder::Little, Encoding::Ndr20);
        writer.u16(0).u16(1).u32(8).u32(u32::MAX);
        assert!(Rts::parse(&writer.bytes(), ByteOrder::Little).is_err());
    }
}
