-- Records by number, those that exist.
-- KEYS: the thread. ARGV: 1 "" to leave out bodies; then first and last number of each range.
-- The number of the last record; how the values before each range begin; the values.
local thread = KEYS[1]
local last = tonumber(string.match(redis.call('HGET', thread, 'at') or '', '^%d+')) or 0
local befores, values = {}, {}

local function cut(value)
  local found, link, digest, flags, _, _, _, body =
    pcall(struct.unpack, '>Bc0Bc0BBc0Hc0I4c0', value)
  if not found then return value end
  local place = 3 + #link + #digest
  if flags >= 2 then flags = flags - 2 end
  return string.sub(value, 1, place - 1) .. string.char(flags) .. string.sub(value, place + 1, body - 1)
end

for i = 2, #ARGV, 2 do
  local from, to = tonumber(ARGV[i]), math.min(tonumber(ARGV[i + 1]), last)
  local value = from > 1 and redis.call('HGET', thread, 'r:' .. (from - 1))
  befores[#befores + 1] = value and string.sub(value, 1, 1 + (string.byte(value, 1) or 0)) or false
  while from <= to do
    local names = {}
    for seq = from, math.min(to, from + 999) do names[#names + 1] = 'r:' .. seq end
    local found = redis.call('HMGET', thread, unpack(names))
    for place = 1, #names do
      local one = found[place]
      if one and ARGV[1] == '' then one = cut(one) end
      values[#values + 1] = one
    end
    from = from + #names
  end
end
return {last, befores, values}
