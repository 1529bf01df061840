// Numbers and layouts of the Linux system calls that the socket makes, as x86-64 and arm64 glibc have
// them: both are LP64 and little-endian, and their kernels share the generic tables, so one set does
// for both. libc.ts refuses every other machine. Source: uapi headers; ours: test/main/libc.test.ts.
//
//   msghdr, 56 bytes: 0 name*, 8 name length u32, 16 iovec*, 24 iovecs u64, 32 control*, 40 control
//   length u64, 48 flags u32          mmsghdr, 64 bytes: a msghdr, 56 bytes done u32
//   iovec, 16 bytes: 0 base*, 8 length u64      cmsghdr: 0 length u64, 8 level u32, 12 type u32, 16 data
//   pollfd, 8 bytes: 0 descriptor i32, 4 events i16, 6 what happened i16

/** Values of arguments. */
export const LINUX = {
  AF_INET: 2,
  AF_INET6: 10,
  SOCK_DGRAM: 2,
  SOCK_NONBLOCK: 0o4000,
  SOCK_CLOEXEC: 0o2000000,
  SOL_IP: 0,
  IP_MTU_DISCOVER: 10,
  SOL_SOCKET: 1,
  SO_SNDBUF: 7,
  SO_RCVBUF: 8,
  SOL_UDP: 17,
  UDP_SEGMENT: 103,
  UDP_GRO: 104,
  SOL_IPV6: 41,
  IPV6_MTU_DISCOVER: 23,
  IPV6_V6ONLY: 26,
  /** DF where the kernel believes that it fits, fragments where it does not: the default. */
  PMTUDISC_WANT: 1,
  /** DF always, and no belief but the device's own MTU. */
  PMTUDISC_PROBE: 3,
  MSG_CTRUNC: 0x08,
  MSG_TRUNC: 0x20,
  MSG_DONTWAIT: 0x40,
  POLLIN: 0x01,
  POLLOUT: 0x04,
  POLLERR: 0x08,
  POLLNVAL: 0x20,
} as const;

/** Lengths of structures, bytes. */
export const SIZE = {
  mmsghdr: 64,
  iovec: 16,
  /** Room for the longest address, a sockaddr_in6 of 28 bytes. */
  address: 32,
  sockaddrIn: 16,
  sockaddrIn6: 28,
  /** A control message with one int, and with one u16 to send. */
  control: 24,
  controlSent: 18,
  pollfd: 8,
} as const;

/** Offsets in words of 4 bytes, of members of a mmsghdr. */
export const MESSAGE_WORD = {
  name: 0,
  nameLength: 2,
  iovecs: 4,
  iovecCount: 6,
  control: 8,
  controlLength: 10,
  flags: 12,
  done: 14,
} as const;

/** Offsets in words of 4 bytes, of members of a control message. */
export const CONTROL_WORD = { length: 0, level: 2, type: 3, data: 4 } as const;
