-- Remove items that have expired, unless they were put anew or prolonged since.
-- KEYS: as for putting. ARGV: 1 the time; then for each item: its field, the bytes of its
-- namespace, how many lists it is in.
-- How many were removed.
local items, vectors, ends, names, counts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local now, list, dropped = tonumber(ARGV[1]), 6, 0
for i = 2, #ARGV, 3 do
  local field, name = ARGV[i], ARGV[i + 1]
  local last = list + ARGV[i + 2] - 1
  local ends_at = redis.call('ZSCORE', ends, field)
  if ends_at and tonumber(ends_at) <= now then
    local old = redis.call('HGET', items, field)
    if old then
      for n = list, last do redis.call('ZREM', KEYS[n], string.sub(old, 1, 16) .. field) end
      redis.call('HDEL', items, field)
      if redis.call('HINCRBY', counts, name, -1) == 0 then
        redis.call('HDEL', counts, name)
        redis.call('ZREM', names, name)
      end
    end
    redis.call('HDEL', vectors, field)
    redis.call('ZREM', ends, field)
    dropped = dropped + 1
  end
  list = last + 1
end
return dropped
