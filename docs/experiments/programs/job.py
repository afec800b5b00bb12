# Python work of several kinds: JSON, dicts, strings, objects, pickles, trees.
import json, pickle, random, re, sys
random.seed(7)
class Node:
    __slots__ = ("left", "right", "value")
    def __init__(self, left, right, value):
        self.left, self.right, self.value = left, right, value
def tree(depth):
    return Node(None, None, depth) if depth == 0 else Node(tree(depth - 1), tree(depth - 1), depth)
def count(node):
    return 1 if node.left is None else 1 + count(node.left) + count(node.right)
total = 0
records = [{"id": i, "name": "name%d" % i, "tags": ["t%d" % (i % j) for j in range(2, 9)],
            "score": random.random()} for i in range(30000)]
text = json.dumps(records)
for _ in range(2):
    total += len(json.loads(text))
blob = pickle.dumps(records, 4)
total += len(pickle.loads(blob))
for _ in range(4):
    total += count(tree(15))
words = re.findall(r"[a-z]+\d+", text)
seen = {}
for word in words:
    seen[word] = seen.get(word, 0) + 1
total += len(seen)
lines = ["%d:%s" % (i, "x" * (i % 97)) for i in range(150000)]
total += len("\n".join(sorted(lines)))
groups = {}
for line in lines:
    groups.setdefault(len(line), []).append(line)
total += sum(len(g) for g in groups.values())
for _ in range(3):
    total += sum(len(s) for s in [str(i) * 3 for i in range(250000)])
print(total)
