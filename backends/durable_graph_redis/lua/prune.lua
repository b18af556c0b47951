-- Remove bodies and large values, and fence off whoever has read them, if the log is still where
-- it was.
-- KEYS: the thread.
-- ARGV: 1 the position it must be at, 2 the position afterwards; 3 the head; 4 how many numbers
-- follow, then first and last of each range; then fields of large values.
-- 1: removed. 0: the log is elsewhere.
local thread, numbers = KEYS[1], tonumber(ARGV[4])
local at = redis.call('HGET', thread, 'at')
if at ~= ARGV[1] then return 0 end
local last = tonumber(string.match(at, '^%d+'))

-- A server without memory refuses what might take some, but only before anything was written; and
-- this is to free some.
redis.call('HDEL', thread, '')
for i = 5 + numbers, #ARGV do redis.call('HDEL', thread, ARGV[i]) end

local function prune(seq)
  local name = 'r:' .. seq
  local value = redis.call('HGET', thread, name)
  if not value then return end
  local found, link, digest, flags, _, _, _, body =
    pcall(struct.unpack, '>Bc0Bc0BBc0Hc0I4c0', value)
  if not found or flags < 2 then return end
  local place = 3 + #link + #digest
  local header = string.sub(value, place + 1, body - 1)
  redis.call('HSET', thread, name, string.sub(value, 1, place - 1) .. string.char(flags - 2) .. header)
end

for i = 5, 4 + numbers, 2 do
  local first, stop = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  for seq = math.max(first, 1), math.min(stop, last) do prune(seq) end
end
redis.call('HSET', thread, 'at', ARGV[2], 'head', ARGV[3])
return 1
