interface Node {
  /** Tokens on the way from the parent to here. */
  segment: number[];
  parent: Node | undefined;
  /** By the first token of their segment. */
  readonly children: Map<number, Node>;
  /** Slots whose list ends here. */
  readonly slots: Set<number>;
}

/** Which slot holds which tokens, as a tree in which lists share what they have in common. */
export interface TokenTrie {
  /** Tokens in the list of a slot; 0 when it has none. */
  length(slot: number): number;
  /** Lets the list of a slot go on with `tokens`, of which it is the beginning, up to `length`. */
  extend(slot: number, tokens: readonly number[], length: number): void;
  /** Forgets the tokens of a slot from `length` on; with 0 the slot. */
  truncate(slot: number, length: number): void;
  /** Slots and how many tokens their lists share with these, at least one; most shared first. */
  matches(tokens: readonly number[]): Generator<{ slot: number; common: number }>;
}

export function tokenTrie(): TokenTrie {
  const root: Node = { segment: [], parent: undefined, children: new Map(), slots: new Set() };
  const ends = new Map<number, { node: Node; length: number }>();

  function addChild(parent: Node, segment: number[]): Node {
    const node: Node = { segment, parent, children: new Map(), slots: new Set() };
    parent.children.set(segment[0]!, node);
    return node;
  }

  /** Makes a node behind the first `length` tokens of a node's segment. */
  function split(node: Node, length: number): Node {
    if (length === node.segment.length) return node;
    const upper = addChild(node.parent!, node.segment.slice(0, length));
    node.segment = node.segment.slice(length);
    node.parent = upper;
    upper.children.set(node.segment[0]!, node);
    return upper;
  }

  /** Removes a node that nobody needs any more, or joins it with the only one below. */
  function prune(node: Node): void {
    const { parent, segment, children, slots } = node;
    if (!parent || slots.size > 0 || children.size > 1) return;
    const [child] = children.values();
    if (child) {
      child.segment = segment.concat(child.segment);
      child.parent = parent;
      parent.children.set(segment[0]!, child);
    } else {
      parent.children.delete(segment[0]!);
      prune(parent);
    }
  }

  function place(slot: number, node: Node, length: number): void {
    const before = ends.get(slot)?.node;
    before?.slots.delete(slot);
    if (length === 0) ends.delete(slot);
    else {
      node.slots.add(slot);
      ends.set(slot, { node, length });
    }
    if (before && before !== node) prune(before);
  }

  const length = (slot: number) => ends.get(slot)?.length ?? 0;

  function* slotsUnder(node: Node): Generator<number> {
    yield* node.slots;
    for (const child of node.children.values()) yield* slotsUnder(child);
  }

  return {
    length,
    extend(slot, tokens, to) {
      let at = length(slot);
      if (at >= to) return;
      let node = ends.get(slot)?.node ?? root;
      if (node !== root && node.children.size === 0 && node.slots.size === 1) {
        for (; at < to; at++) node.segment.push(tokens[at]!);
        ends.set(slot, { node, length: to });
        return;
      }
      while (at < to) {
        const child = node.children.get(tokens[at]!);
        if (!child) {
          node = addChild(node, tokens.slice(at, to));
          break;
        }
        const shared = sharedLength(child.segment, tokens, at, to);
        node = split(child, shared);
        at += shared;
      }
      place(slot, node, to);
    },
    truncate(slot, to) {
      const end = ends.get(slot);
      if (!end || to >= end.length) return;
      let { node, length: above } = end;
      while (node.parent && above - node.segment.length >= to) {
        above -= node.segment.length;
        node = node.parent;
      }
      place(slot, node.parent ? split(node, to - (above - node.segment.length)) : root, to);
    },
    *matches(tokens) {
      // The nodes on the way, each with how much of it is shared.
      const way: { node: Node; common: number }[] = [];
      let common = 0;
      for (let node: Node | undefined = root.children.get(tokens[0]!); node; ) {
        const shared = sharedLength(node.segment, tokens, common, tokens.length);
        common += shared;
        way.push({ node, common });
        node = shared < node.segment.length ? undefined : node.children.get(tokens[common]!);
      }
      let below: Node | undefined;
      for (const { node, common: shared } of way.reverse()) {
        for (const slot of node.slots) yield { slot, common: shared };
        for (const child of node.children.values()) {
          if (child === below) continue;
          for (const slot of slotsUnder(child)) yield { slot, common: shared };
        }
        below = node;
      }
    },
  };
}

/** How many tokens of `segment` stand in `tokens` from `at` on, before `end`. */
function sharedLength(segment: readonly number[], tokens: readonly number[], at: number, end: number): number {
  let shared = 0;
  while (shared < segment.length && at + shared < end && segment[shared] === tokens[at + shared]) shared++;
  return shared;
}
