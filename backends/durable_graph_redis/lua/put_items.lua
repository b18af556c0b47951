-- Put items in the place of what is there, or nothing; all of them or none.
-- KEYS: items; vectors; ends; namespaces; counts; then, for each write, the lists that it is in.
-- ARGV: 1 the time, 2 how many expired items to tell of; then for each write: its field; what is
-- to be there, or empty; its vectors, or empty; when it expires, or empty; the version that must
-- be there, zeros for none, or empty; whether what is there is no past of it; the bytes of its
-- namespace; how many lists it is in.
-- Which writes have met something else: nothing is written then. Else none, and fields of items
-- that have expired.
local items, vectors, ends, names, counts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local now = tonumber(ARGV[1])
local found, alive, refused = {}, {}, {}
for i = 3, #ARGV, 8 do
  local field, expects = ARGV[i], ARGV[i + 4]
  local old = redis.call('HGET', items, field)
  local ends_at = old and redis.call('ZSCORE', ends, field)
  found[i] = old
  alive[i] = old and (not ends_at or tonumber(ends_at) > now)
  local version = alive[i] and string.sub(old, 1, 16) or '0000000000000000'
  if expects ~= '' and expects ~= version then refused[#refused + 1] = (i - 3) / 8 end
end
if #refused > 0 then return {refused, {}} end

-- First what takes space: a server that has none refuses that only before anything was written.
for i = 3, #ARGV, 8 do
  local value = ARGV[i + 1]
  if value ~= '' then
    if alive[i] and ARGV[i + 5] == '' then
      value = string.sub(value, 1, 16) .. string.sub(found[i], 17, 24) .. string.sub(value, 25)
    end
    redis.call('HSET', items, ARGV[i], value)
  end
end

local list = 6
for i = 3, #ARGV, 8 do
  local field, value, old, name = ARGV[i], ARGV[i + 1], found[i], ARGV[i + 6]
  local last = list + ARGV[i + 7] - 1
  if old then
    for n = list, last do redis.call('ZREM', KEYS[n], string.sub(old, 1, 16) .. field) end
  end
  redis.call('HDEL', vectors, field)
  redis.call('ZREM', ends, field)
  if value ~= '' then
    if ARGV[i + 2] ~= '' then redis.call('HSET', vectors, field, ARGV[i + 2]) end
    if ARGV[i + 3] ~= '' then redis.call('ZADD', ends, ARGV[i + 3], field) end
    for n = list, last do redis.call('ZADD', KEYS[n], 0, string.sub(value, 1, 16) .. field) end
    if not old and redis.call('HINCRBY', counts, name, 1) == 1 then
      redis.call('ZADD', names, 0, name)
    end
  elseif old then
    redis.call('HDEL', items, field)
    if redis.call('HINCRBY', counts, name, -1) == 0 then
      redis.call('HDEL', counts, name)
      redis.call('ZREM', names, name)
    end
  end
  list = last + 1
end
return {{}, redis.call('ZRANGEBYSCORE', ends, '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])}
