# Owns JPEGs that no common encoder writes, made from random coefficients: any sampling factors, scans in any split,
# restart intervals, progressive scripts, such as leave something out, and damage. compare.py asks for them.
import math
import struct

SAMPLINGS = [(1, 1), (2, 1), (2, 2), (1, 2), (4, 1), (4, 2), (1, 4), (2, 4)]
MAX_MCU_BLOCKS = 10
LONGEST_RUN = 0x7FFF
LONGEST_CORRECTION = 900


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


class Bits:
    """Entropy-coded data: bits with their stuffing, and restart markers."""

    def __init__(self):
        self.out, self.pending, self.count = bytearray(), 0, 0

    def put(self, value, count):
        self.pending = (self.pending << count) | (value & ((1 << count) - 1))
        self.count += count
        while self.count >= 8:
            self.count -= 8
            byte = (self.pending >> self.count) & 255
            self.out += bytes([byte, 0] if byte == 255 else [byte])
        self.pending &= (1 << self.count) - 1

    def flush(self):
        if self.count:
            self.put((1 << (8 - self.count)) - 1, 8 - self.count)

    def marker(self, code):
        self.flush()
        self.out += bytes([255, code])


def huffman(rng, symbols):
    """A code for the symbols, flat or steep, in random order: by symbol code and length, and the segment's part."""
    symbols = list(symbols)
    rng.shuffle(symbols)
    flat = math.ceil(math.log2(len(symbols) + 1))
    lengths, space = [], 1.0
    if rng.random() < 0.5:
        for length in range(2, 11):
            if len(symbols) - len(lengths) > 1:
                lengths.append(length)
                space -= 2.0**-length
    rest = len(symbols) - len(lengths)
    # One code of all ones stays free.
    last = next(length for length in range(flat if not lengths else 1, 17) if rest * 2.0**-length < space)
    lengths += [last] * rest
    counts, codes, code = [lengths.count(length) for length in range(1, 17)], {}, 0
    order = iter(symbols)
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            codes[next(order)] = (code, length)
            code += 1
        code <<= 1
    return codes, bytes(counts) + bytes(symbols)


def bits_of(value):
    size = abs(value).bit_length()
    return (value if value > 0 else value + (1 << size) - 1), size


def shifted(value, low):
    return (abs(value) >> low) * (1 if value >= 0 else -1)


class Component:
    def __init__(self, rng, h, v, mcus, real):
        self.h, self.v = h, v
        self.stored_x, self.stored_y = mcus[0] * h, mcus[1] * v
        self.real_x, self.real_y = real
        density, most, last = rng.choice([0, 0.02, 0.1, 0.4]), rng.choice([1, 3, 20]), rng.choice([5, 20, 63])
        mean = rng.randint(-60, 60)
        self.blocks = []
        for _ in range(self.stored_x * self.stored_y):
            mean = max(-100, min(100, mean + rng.randint(-20, 20)))
            block = [mean] + [0] * 63
            if rng.random() < 0.8:
                for k in range(1, last + 1):
                    if rng.random() < density:
                        block[k] = rng.randint(-most, most)
            self.blocks.append(block)


class Scan:
    """Symbols of one scan: ("dc" or "ac", symbol, bits, their count), ("raw", bits, count), ("restart", number)."""

    def __init__(self, first, last, high, low):
        self.first, self.last, self.high, self.low = first, last, high, low
        self.events, self.means, self.run, self.corrections = [], {}, 0, []

    def restart(self, number):
        self.flush()
        self.means = {}
        self.events.append(("restart", number))

    def flush(self):
        if self.run:
            size = self.run.bit_length() - 1
            self.events.append(("ac", size * 16, self.run - (1 << size), size))
            self.run = 0
        self.correct(self.corrections)
        self.corrections = []

    def correct(self, bits):
        self.events += [("raw", bit, 1) for bit in bits]

    def dc(self, component, value):
        difference = value - self.means.get(component, 0)
        self.means[component] = value
        bits, size = bits_of(difference)
        self.events.append(("dc", size, bits, size))

    def levels(self, block, first, last):
        end = max((k for k in range(first, last + 1) if block[k]), default=0)
        if end:
            self.flush()
        run = 0
        for k in range(first, end + 1):
            if block[k] == 0:
                run += 1
                continue
            while run > 15:
                self.events.append(("ac", 0xF0, 0, 0))
                run -= 16
            bits, size = bits_of(block[k])
            self.events.append(("ac", run * 16 + size, bits, size))
            run = 0
        return end

    def sequential(self, component, block):
        self.dc(component, block[0])
        if self.levels(block, 1, 63) < 63:
            self.events.append(("ac", 0, 0, 0))

    def progressive(self, component, block):
        if self.first == 0:
            if self.high == 0:
                self.dc(component, block[0] >> self.low)
            else:
                self.events.append(("raw", (block[0] >> self.low) & 1, 1))
            return
        block = [shifted(value, self.low) for value in block]
        if self.high == 0:
            if self.levels(block, self.first, self.last) < self.last:
                self.run += 1
        else:
            self.refine(block)
        if self.run == LONGEST_RUN or len(self.corrections) > LONGEST_CORRECTION:
            self.flush()

    def refine(self, block):
        last_new = max((k for k in range(self.first, self.last + 1) if abs(block[k]) == 1), default=0)
        run, corrections = 0, []
        for k in range(self.first, self.last + 1):
            size = abs(block[k])
            if size == 0:
                run += 1
                continue
            while run > 15 and k <= last_new:
                self.flush()
                self.events.append(("ac", 0xF0, 0, 0))
                run -= 16
                self.correct(corrections)
                corrections = []
            if size > 1:
                corrections.append(size & 1)
                continue
            self.flush()
            self.events.append(("ac", run * 16 + 1, int(block[k] > 0), 1))
            self.correct(corrections)
            run, corrections = 0, []
        if run > 0 or corrections:
            self.run += 1
            self.corrections += corrections


def script(rng, count, progressive, together, incomplete):
    """Scans as (components, first, last, high, low)."""
    groups = [list(range(count))] if together else [[index] for index in range(count)]
    if not progressive:
        return [(group, 0, 63, 0, 0) for group in groups]
    low = rng.choice([0, 1, 2])
    scans = [(group, 0, 0, 0, low) for group in groups]
    for index in range(count):
        for first, last in rng.choice([[(1, 63)], [(1, 5), (6, 63)], [(1, 20), (21, 63)]]):
            start = rng.choice([0, 1, 2])
            scans.append(([index], first, last, 0, start))
            scans += [([index], first, last, bit + 1, bit) for bit in range(start - 1, -1, -1)]
    scans += [(group, 0, 0, bit + 1, bit) for bit in range(low - 1, -1, -1) for group in groups]
    return scans[: rng.randint(1, len(scans) - 1)] if incomplete and len(scans) > 1 else scans


def samplings(rng, count):
    if count == 1:
        return [(rng.randint(1, 3), rng.randint(1, 3))]
    if rng.random() < 0.3:
        return [rng.choice(SAMPLINGS[:4]) for _ in range(count)]
    most = rng.choice(SAMPLINGS)
    return [most, (1, 1), (1, 1), rng.choice([most, (1, 1)])][:count]


def odd_jpeg(rng, incomplete=False):
    longest = rng.choice([20, 60, 200])
    width, height, count = rng.randint(1, longest), rng.randint(1, longest), rng.choice([1, 3, 3, 3, 3, 4])
    progressive = incomplete or rng.random() < 0.5
    factors = samplings(rng, count)
    max_h, max_v = (max(factor[axis] for factor in factors) for axis in (0, 1))
    ids = rng.choice([[1, 2, 3, 4], [1, 2, 3, 4], [0, 1, 2, 3], list(b"RGBA")])[:count]

    out = b"\xff\xd8"
    if count != 4 and rng.random() < 0.5:
        out += segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    if rng.random() < 0.4:
        out += segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([rng.choice([0, 1, 2])]))
    for table in range(3):
        most = rng.choice([4, 30, 90])
        out += segment(0xDB, bytes([table]) + bytes(rng.randint(1, most) for _ in range(64)))
    parts = b"".join(bytes([i, h * 16 + v, rng.randrange(3)]) for i, (h, v) in zip(ids, factors))
    frame = 0xC2 if progressive else rng.choice([0xC0, 0xC1])
    out += segment(frame, struct.pack(">BHHB", 8, height, width, count) + parts)

    mcus = -(-width // (8 * max_h)), -(-height // (8 * max_v))
    real = [(-(-width * h // (8 * max_h)), -(-height * v // (8 * max_v))) for h, v in factors]
    components = [Component(rng, h, v, mcus, size) for (h, v), size in zip(factors, real)]
    together = sum(h * v for h, v in factors) <= MAX_MCU_BLOCKS and rng.random() < 0.7
    for chosen, *band in script(rng, count, progressive, together, incomplete):
        out += scan(rng, components, chosen, ids, mcus, band, progressive)
    return out + b"\xff\xd9"


def scan(rng, components, chosen, ids, mcus, band, progressive):
    interval = rng.choice([0, 0, 1, 3, 7])
    coder = Scan(*band)
    for number, unit in enumerate(units(components, chosen, mcus)):
        if interval and number and number % interval == 0:
            coder.restart((number // interval - 1) % 8)
        for component, block in unit:
            (coder.progressive if progressive else coder.sequential)(component, block)
    coder.flush()
    tables = {kind: huffman(rng, {0} | {event[1] for event in coder.events if event[0] == kind}) for kind in ("dc", "ac")}
    bits = Bits()
    for kind, *what in coder.events:
        if kind == "restart":
            bits.marker(0xD0 + what[0])
        elif kind == "raw":
            bits.put(*what)
        else:
            bits.put(*tables[kind][0][what[0]])
            bits.put(*what[1:])
    bits.flush()
    first, last, high, low = band
    parts = b"".join(bytes([ids[index], 0]) for index in chosen)
    return (
        segment(0xDD, struct.pack(">H", interval))
        + segment(0xC4, b"\0" + tables["dc"][1] + b"\x10" + tables["ac"][1])
        + segment(0xDA, bytes([len(chosen)]) + parts + bytes([first, last, high * 16 + low]))
        + bytes(bits.out)
    )


def units(components, chosen, mcus):
    """The scan's units, each a list of (component, block)."""
    if len(chosen) == 1:
        c = components[chosen[0]]
        for y in range(c.real_y):
            for x in range(c.real_x):
                yield [(chosen[0], c.blocks[y * c.stored_x + x])]
        return
    for mcu_y in range(mcus[1]):
        for mcu_x in range(mcus[0]):
            yield [
                (index, c.blocks[(mcu_y * c.v + y) * c.stored_x + mcu_x * c.h + x])
                for index, c in ((index, components[index]) for index in chosen)
                for y in range(c.v)
                for x in range(c.h)
            ]


def damaged(rng, jpeg):
    """With some bytes changed, dropped or put in behind the first scan's header."""
    data = bytearray(jpeg)
    first = data.index(b"\xff\xda") + 12
    for _ in range(rng.randint(1, 3)):
        if first >= len(data) - 3:
            break
        at, kind = rng.randrange(first, len(data) - 2), rng.random()
        if kind < 0.6:
            data[at] ^= 1 << rng.randrange(8)
        elif kind < 0.8:
            del data[at : at + rng.randint(1, 4)]
        else:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 4)))
    return bytes(data)
